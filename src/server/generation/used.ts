// Counts what a request used, from its sequences' ends. Knows no wire format: an answer's `usage` is another sum over
// the same ends.

import type { SequenceEnd } from '../../protocol/messages.ts';
import type { Used } from '../../tenants/usage.ts';

export type EndedSequence = {
  /** The prompt's tokens; choices of one prompt share one array. */
  readonly promptTokens: readonly number[];
  /** Whether it left the queue, so that at least a part of its prompt was computed. */
  readonly isStarted: boolean;
  readonly reason: SequenceEnd['reason'];
  readonly code: string | null;
  readonly cachedTokens: number;
  /** Generated tokens that the caller was told, or would have been told. */
  readonly completionTokens: number;
};

/**
 * Sums up the use of a request. A prompt counts once, however many choices it has, and work that the caller abandoned
 * counts as far as it came. null where nothing began, or where the request failed without the caller's fault or wish.
 */
export function usedBy(ended: readonly EndedSequence[]): Omit<Used, 'tenant' | 'adapter'> | null {
  if (ended.some(({ reason, code }) => reason === 'error' && code !== 'deadline_exceeded')) return null;
  const begun = ended.filter(({ isStarted }) => isStarted);
  if (begun.length === 0) return null;
  const firsts = new Map(begun.toReversed().map((sequence) => [sequence.promptTokens, sequence]));
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return {
    requests: 1,
    promptTokens: sum([...firsts.keys()].map(({ length }) => length)),
    cachedTokens: sum([...firsts.values()].map(({ cachedTokens }) => cachedTokens)),
    completionTokens: sum(begun.map(({ completionTokens }) => completionTokens)),
    trainedTokens: 0,
  };
}
