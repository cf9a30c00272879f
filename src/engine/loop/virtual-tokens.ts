// Virtual tokens of a sequence, which an adapter without pairs puts before the prompt. They count like other tokens for
// work, room, service and the prefix cache. Their ids are below 0, which no vocabulary has, and nothing is computed
// from them. The adapter brings what stands in their place: embeddings, which a run reads, or keys and values, which
// are written to the KV cache as a run would have left them.

import type { AppliedAdapter } from '../../core/adapter.ts';
import { withPairs } from '../../core/adapter.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { SequenceRequest } from '../../protocol/messages.ts';
import type { AdapterHold } from '../adapters/adapter-store.ts';
import type { VirtualRows } from '../adapters/virtual-rows.ts';

export type VirtualTokens = {
  readonly adapter: AppliedAdapter;
  readonly count: number;
  /** Its adapter in memory, or on its way; null before it is fetched. */
  hold: AdapterHold | null;
};

/** Puts virtual tokens at the beginning of the prompt, and keeps only the adapters with pairs. */
export function takeVirtualTokens(request: SequenceRequest): {
  readonly request: SequenceRequest;
  readonly virtual: VirtualTokens | null;
} {
  const adapter = request.adapters.find(({ virtualTokens = 0 }) => virtualTokens > 0);
  if (adapter === undefined) return { request, virtual: null };
  const count = adapter.virtualTokens!;
  const ids = Array.from({ length: count }, (_, i) => -1 - i);
  return {
    request: {
      ...request,
      adapters: withPairs(request.adapters),
      promptTokens: [...ids, ...request.promptTokens],
    },
    virtual: { adapter, count, hold: null },
  };
}

/** Digest of the adapter's files; null without virtual tokens. */
export const digestOfVirtual = (virtual: VirtualTokens | null): string | null => virtual?.adapter.files.digest ?? null;

/** What stands in the virtual tokens' place; null without virtual tokens, and before the adapter is loaded. */
export const rowsOfVirtual = (virtual: VirtualTokens | null): VirtualRows | null =>
  virtual?.hold?.adapter?.virtual ?? null;

/** Why the virtual tokens cannot be had; null without a failure, and while the adapter is being loaded. */
export function failureOfVirtual(virtual: VirtualTokens | null): Error | null {
  if (!virtual?.hold) return null;
  const { adapter, error } = virtual.hold;
  if (adapter === null) return error;
  if (adapter.virtual?.count === virtual.count) return null;
  const message = `The adapter has ${adapter.virtual?.count ?? 0} virtual tokens, and ${virtual.count} were announced.`;
  return new LorikeetError('adapter_unsupported', { message });
}
