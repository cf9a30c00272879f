// Where a sequence runs whose adapter is merged: on the merge, or with its adapter beside the base's rows. On the merge
// its adapter costs nothing, but its group reads all weights once more beside the mixed batch. Pure.

export type StepKind = 'base' | 'mixed' | 'merged';

/** Milliseconds of one decode step of `rows` rows; 0 of none. */
export type StepMs = (kind: StepKind, rows: number) => number;

/** Rows that run, or are next in the queue. */
export type Crowd = {
  /** With the sequence's own weights, wherever they run; the sequence itself too. */
  readonly own: number;
  /** All else that is in the mixed batch. */
  readonly others: number;
  /** Some of the others have an adapter. */
  readonly othersAdapted: boolean;
};

/**
 * Compares two steps that would serve everybody: all of these weights' rows on the merge, or none. What runs already
 * stays where it is, so this is where things move to as rows end, and not what the next step costs; counting only the
 * next step would keep a batch mixed for ever because it is.
 */
export function mergedOrMixed({ own, others, othersAdapted }: Crowd, stepMs: StepMs): 'merged' | 'mixed' {
  // By themselves they are the same step, without an adapter's work.
  if (others === 0) return 'merged';
  const merged = stepMs(othersAdapted ? 'mixed' : 'base', others) + stepMs('merged', own);
  return stepMs('mixed', others + own) < merged ? 'mixed' : 'merged';
}
