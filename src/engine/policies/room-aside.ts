// How long the next step waits for what computes beside the steps: merges, and a training job's process. Those compute
// only where a core would idle, and with rows on every core none ever does. Pure.

export type RoomAside = {
  /** Of the last step. */
  readonly stepMs: number;
  /** Rows that run, of so many. */
  readonly rows: number;
  readonly slots: number;
  /** A merge is being made. */
  readonly isMerging: boolean;
  /** Of the time, for a training job while half of the slots or fewer are taken; 0 without any. */
  readonly trainingShare: number;
};

/** A share of the time: meanwhile every token comes a quarter later, which the merge soon makes up for. */
const mergingShare = 0.2;

/** Two or three steps of decoding: a longer pause is more than a reader overlooks. */
const pauseMsMax = 25;

/** Milliseconds. A job's share ends where every slot is taken: callers come first, and rows beside them cost little. */
export function roomAside({ stepMs, rows, slots, isMerging, trainingShare }: RoomAside): number {
  const free = 1 - rows / slots;
  const share = Math.max(isMerging ? mergingShare : 0, Math.min(trainingShare, 0.9) * Math.min(1, 2 * free));
  return Math.min((stepMs * share) / (1 - share), pauseMsMax);
}
