// What a request used, from its sequences' ends. Knows no wire format: an answer's `usage` and this are two sums over
// the same ends.

import type { SequenceEnd } from '../../protocol/messages.ts';
import type { Used } from '../../tenants/usage.ts';

export type EndedSequence = {
  /** The same list for all choices of a prompt. */
  readonly promptTokens: readonly number[];
  /** It left the queue: its prompt was, or was being, read. */
  readonly isStarted: boolean;
  readonly reason: SequenceEnd['reason'];
  readonly code: string | null;
  readonly cachedTokens: number;
  /** As far as the caller was, or would have been, told. */
  readonly completionTokens: number;
};

/**
 * A prompt counts once, however many choices it has. What nobody waits for any more counts as far as it came. A request
 * that failed by no fault or wish of the caller's counts nothing; null then, and where nothing was begun.
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
