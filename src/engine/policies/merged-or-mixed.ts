// Whether a sequence whose adapter is merged runs on the merge, or with its adapter in the mixed batch. On the merge
// the adapter costs nothing, but the merge's group reads all weights once more beside the mixed batch. Pure.

export type StepKind = 'base' | 'mixed' | 'merged';

/** Milliseconds of one decode step of `rows` rows; 0 where `rows` is 0. */
export type StepMs = (kind: StepKind, rows: number) => number;

/** Counts rows that run or are next in the queue. */
export type Crowd = {
  /** Rows with the sequence's own weights, on the merge or not, the sequence included. */
  readonly own: number;
  /** All other rows of the mixed batch. */
  readonly others: number;
  /** Whether some of the others have an adapter. */
  readonly othersAdapted: boolean;
};

/**
 * Compares two steps that would serve everybody: all rows of these weights on the merge, or none. Sequences that
 * already run stay where they are, so the answer is where the batch should move as rows end. Counting only the next
 * step would keep a batch mixed for ever because it is mixed now.
 */
export function mergedOrMixed({ own, others, othersAdapted }: Crowd, stepMs: StepMs): 'merged' | 'mixed' {
  // Without others both steps are the same, but for the adapter's work.
  if (others === 0) return 'merged';
  const merged = stepMs(othersAdapted ? 'mixed' : 'base', others) + stepMs('merged', own);
  return stepMs('mixed', others + own) < merged ? 'mixed' : 'merged';
}
