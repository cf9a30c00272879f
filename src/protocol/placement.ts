// Decides which of several engines takes a sequence. An adapter's requests stay on the engine that has its weights as
// long as there is room, so that each engine's memory holds different adapters. Otherwise an engine that has room takes
// them. Pure: numbers in, an engine's index out.

export type Candidate = {
  /** The engine has, or is loading, the sequence's adapters or a merge of them. True where the sequence has none. */
  readonly isHome: boolean;
  /** Starts up to and including the sequence's own: 0 where a slot is free, or owed to its flow. */
  readonly starts: number;
  /** Sequences that the engine runs at once. */
  readonly slots: number;
  /** Sequences of the engine, divided by its slots. */
  readonly load: number;
  /** Share of the KV cache in use, 0..1. */
  readonly kvUsage: number;
  /** Share of the adapter pages in use, 0..1. */
  readonly pageUsage: number;
  /** Adapters in the engine's memory. */
  readonly resident: number;
};

/** Usage of the KV cache or of pages from which on a new sequence hardly finds room before another one ends. */
export const full = 0.95;

/** @returns the index of the best candidate; the first of equal ones */
export function placeOf(candidates: readonly Candidate[]): number {
  const nearest = Math.min(...candidates.map(({ starts }) => starts));
  const ranks = candidates.map((one) => rankOf(one, nearest));
  return ranks.reduce((best, rank, i) => (isBefore(rank, ranks[best]!) ? i : best), 0);
}

/** Ranks a candidate, for comparison number by number; lower is better. */
function rankOf(candidate: Candidate, nearest: number): readonly number[] {
  const { isHome, starts, slots, load, resident } = candidate;
  // Copying weights takes a moment, and is better than waiting for a whole batch more.
  const isFar = starts - nearest > slots;
  return [hasRoom(candidate) ? 0 : 1, isHome && !isFar ? 0 : 1, starts, load, isHome ? 0 : resident];
}

/**
 * Sequences that may wait on the engine that has their adapter while slots are free elsewhere: a quarter of a batch
 * ends soon. Without this, adapters would move from one full engine to the next and push each other out of memory.
 */
export const patienceOf = (slots: number): number => Math.floor(slots / 4);

/** Whether the sequence starts there at once, or soon where its adapter is, and finds enough KV cache and pages. */
function hasRoom({ isHome, starts, slots, load, kvUsage, pageUsage }: Candidate): boolean {
  if (starts > (isHome ? patienceOf(slots) : 0)) return false;
  // The last statistics of an engine without sequences are outdated.
  return load === 0 || (kvUsage < full && (isHome || pageUsage < full));
}

function isBefore(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((number, i) => number !== b[i]);
  return at >= 0 && a[at]! < b[at]!;
}
