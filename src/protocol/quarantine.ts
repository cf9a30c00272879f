// Requests that were with engines when these died. One that was there twice is taken for the cause and refused for a
// while, whoever sends it: official clients send again by themselves, and each time would cost everybody the engine.

import { createHash } from 'node:crypto';
import { LorikeetError } from '../core/errors.ts';
import type { SequenceRequest } from './messages.ts';

type Suspect = { deaths: number; at: number };

/** Deaths after which it is refused, for how long, and how many are remembered. */
const deathsMax = 2;
const refusedMs = 10 * 60_000;
const suspectsMax = 1024;

export class Quarantine {
  readonly #suspects = new Map<string, Suspect>();

  /** @param sequences those that a dead engine had begun */
  engineDied(sequences: readonly SequenceRequest[], now: number): void {
    for (const print of new Set(sequences.map(fingerprint))) {
      const deaths = this.#deaths(print, now) + 1;
      this.#suspects.delete(print);
      this.#suspects.set(print, { deaths, at: now });
    }
    for (const [print] of this.#suspects) {
      if (this.#suspects.size <= suspectsMax) break;
      this.#suspects.delete(print);
    }
  }

  /** Throws `request_quarantined`. */
  assertHarmless(sequence: Omit<SequenceRequest, 'id'>, now: number): void {
    if (this.#suspects.size === 0) return;
    if (this.#deaths(fingerprint(sequence), now) >= deathsMax) throw new LorikeetError('request_quarantined');
  }

  #deaths(print: string, now: number): number {
    const found = this.#suspects.get(print);
    return found === undefined || now - found.at > refusedMs ? 0 : found.deaths;
  }
}

/** All that decides what an engine does with it. A seed that was drawn for it makes no other request of it. */
function fingerprint({ promptTokens, params, adapters }: Omit<SequenceRequest, 'id'>): string {
  const weights = adapters.map(({ files, scale }) => [files.digest, scale]);
  const { seed: _, ...rest } = params;
  return createHash('sha256')
    .update(JSON.stringify([promptTokens, rest, weights]))
    .digest('base64');
}
