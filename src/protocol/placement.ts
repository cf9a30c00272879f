// Which of several engines takes a sequence. An adapter's requests stay where its weights are as long as there is room,
// so that each engine's memory holds adapters of its own; where there is none, an engine that has room takes them too.
// Pure: numbers in, the number of an engine out.

export type Candidate = {
  /** Its adapters are there, or on their way; so is a merge of them. True where it asks for none. */
  readonly isHome: boolean;
  /** Starts that come before the sequence's own: 0 where a row is free, or owed to its flow. */
  readonly starts: number;
  /** Sequences that run at once. */
  readonly slots: number;
  /** Sequences that it has, over its slots. */
  readonly load: number;
  /** Of its room for keys and values, 0..1. */
  readonly kvUsage: number;
  /** Of its pages for adapters, 0..1. */
  readonly pageUsage: number;
  /** Adapters in its memory. */
  readonly resident: number;
};

/** Of room for keys and values, or of pages: what a new sequence needs is hardly there before another one ends. */
export const full = 0.95;

/** @returns the index of the best; the first of equal ones */
export function placeOf(candidates: readonly Candidate[]): number {
  const nearest = Math.min(...candidates.map(({ starts }) => starts));
  const ranks = candidates.map((one) => rankOf(one, nearest));
  return ranks.reduce((best, rank, i) => (isBefore(rank, ranks[best]!) ? i : best), 0);
}

/** Lower is better, the first number first. */
function rankOf(candidate: Candidate, nearest: number): readonly number[] {
  const { isHome, starts, slots, load, resident } = candidate;
  // No wait of a whole batch more for the sake of weights that take a moment to copy.
  const isFar = starts - nearest > slots;
  return [hasRoom(candidate) ? 0 : 1, isHome && !isFar ? 0 : 1, starts, load, isHome ? 0 : resident];
}

/**
 * Sequences that may wait where their adapter is while rows are free elsewhere: a quarter of a batch ends soon. Else
 * adapters would wander from one full engine to the next, and push each other out of memory.
 */
export const patienceOf = (slots: number): number => Math.floor(slots / 4);

/** What starts there now, or soon where its adapter is, and finds what it needs. */
function hasRoom({ isHome, starts, slots, load, kvUsage, pageUsage }: Candidate): boolean {
  if (starts > (isHome ? patienceOf(slots) : 0)) return false;
  // What an engine without sequences said last is no longer so.
  return load === 0 || (kvUsage < full && (isHome || pageUsage < full));
}

function isBefore(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((number, i) => number !== b[i]);
  return at >= 0 && a[at]! < b[at]!;
}
