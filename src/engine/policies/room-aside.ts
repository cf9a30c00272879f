// How long the next step waits for what computes beside the steps: merges, and a training job's process. These compute
// only while a core idles, and no core does while rows keep every core busy. Pure.

export type RoomAside = {
  /** Milliseconds of the last step. */
  readonly stepMs: number;
  /** Rows that run, of `slots` that could. */
  readonly rows: number;
  readonly slots: number;
  /** Whether a merge is being made. */
  readonly isMerging: boolean;
  /** Share of the time for a training job while at most half of the slots are taken; 0 without a job. */
  readonly trainingShare: number;
};

/** Share of the time for a merge: meanwhile every token comes a quarter later, which the merge soon makes up for. */
const mergingShare = 0.2;

/** Longest pause in milliseconds, two or three decode steps: readers would notice a longer one. */
const pauseMsMax = 25;

/**
 * Milliseconds to wait. A job's share falls to 0 where every slot is taken: callers come first, and rows beside them
 * cost little.
 */
export function roomAside({ stepMs, rows, slots, isMerging, trainingShare }: RoomAside): number {
  const free = 1 - rows / slots;
  const share = Math.max(isMerging ? mergingShare : 0, Math.min(trainingShare, 0.9) * Math.min(1, 2 * free));
  return Math.min((stepMs * share) / (1 - share), pauseMsMax);
}
