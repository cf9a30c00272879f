// Virtual tokens of a sequence: an adapter without pairs puts them before the prompt. They are tokens as others to all
// that counts: work, room, service and the prefix cache. Their ids are below 0, which no token of a vocabulary has, and
// nothing is computed from an id. What stands in their place comes from the adapter: embeddings, which a run reads, or
// keys and values, which are written where a run would have left them.

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

/** The request with its virtual tokens as the first of its prompt, and adapters with pairs alone. */
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

/** null: there are none. */
export const digestOfVirtual = (virtual: VirtualTokens | null): string | null => virtual?.adapter.files.digest ?? null;

/** Of a sequence that runs. */
export const rowsOfVirtual = (virtual: VirtualTokens | null): VirtualRows | null =>
  virtual?.hold?.adapter?.virtual ?? null;

/** Why they cannot be had; null while they are on their way, and once they are there. */
export function failureOfVirtual(virtual: VirtualTokens | null): Error | null {
  if (!virtual?.hold) return null;
  const { adapter, error } = virtual.hold;
  if (adapter === null) return error;
  if (adapter.virtual?.count === virtual.count) return null;
  const message = `The adapter has ${adapter.virtual?.count ?? 0} virtual tokens, and ${virtual.count} were announced.`;
  return new LorikeetError('adapter_unsupported', { message });
}
