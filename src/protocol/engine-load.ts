// Counts one engine's sequences, by flow and by the adapters that they ask for. Pure bookkeeping.

import { commonShare } from '../core/share.ts';
import { FlowLoad } from './flow-load.ts';
import type { SequenceRequest } from './messages.ts';

type Counted = Pick<SequenceRequest, 'share' | 'promptTokens' | 'adapters'>;

export class EngineLoad {
  readonly flows = new FlowLoad();
  /** Sequences by the digest of each adapter that they ask for. */
  readonly #adapters = new Map<string, number>();

  /** Sequences that the engine has. */
  get size(): number {
    return this.flows.running + this.flows.waiting;
  }

  /** Whether some sequence asks for the adapter, so that its weights are there or on their way. */
  wants(digest: string): boolean {
    return this.#adapters.has(digest);
  }

  enters({ share = commonShare, promptTokens, adapters }: Counted): void {
    this.flows.waits(share, promptTokens.length);
    for (const { files } of adapters) this.#adapters.set(files.digest, (this.#adapters.get(files.digest) ?? 0) + 1);
  }

  starts({ share = commonShare, promptTokens }: Counted): void {
    this.flows.starts(share, promptTokens.length);
  }

  leaves({ share = commonShare, promptTokens, adapters }: Counted, wasRunning: boolean): void {
    this.flows.ends(share, promptTokens.length, wasRunning);
    for (const { files } of adapters) {
      const count = this.#adapters.get(files.digest)! - 1;
      if (count === 0) this.#adapters.delete(files.digest);
      else this.#adapters.set(files.digest, count);
    }
  }
}
