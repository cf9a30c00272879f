// The least processor time of a trainer. At idle priority it computes only on idle cores, and would never get on where
// other programs leave none idle. So a trainer that had next to nothing for a while goes on at a low priority, which
// gets a small part of contested cores, and later tries idle priority again. Pure.

/** Scheduling of a trainer: on idle cores only, or at a low priority beside others. */
export type TrainerPriority = 'idle' | 'low';

/** The operator's choice: one of the two, or `floor`: idle first, and low where that gets too little. */
export type TrainingPriority = TrainerPriority | 'floor';

export const firstPriority = (chosen: TrainingPriority): TrainerPriority => (chosen === 'low' ? 'low' : 'idle');

/** A trainer's processor time `usedMs` at the time `atMs` of the monotonic clock. */
export type ProcessorUse = { readonly atMs: number; readonly usedMs: number };

/** Window of the measurement: a trainer that loads weights or waits for the disk may use little for moments. */
const windowMs = 60_000;
/** Share of one core below which a trainer counts as standing still. */
const floorShare = 0.02;
/** Time at low priority after which idle priority is tried again. */
const lowMs = 30 * 60_000;

/** @param uses measurements of the running trainer, oldest first @returns the priority to go on with */
export function nextPriority(now: TrainerPriority, uses: readonly ProcessorUse[]): TrainerPriority {
  const [first, last] = [uses[0], uses.at(-1)];
  if (first === undefined || last === undefined) return now;
  if (now === 'low') return last.atMs - first.atMs >= lowMs ? 'idle' : 'low';
  const before = uses.findLast(({ atMs }) => last.atMs - atMs >= windowMs);
  if (before === undefined) return now;
  const share = (last.usedMs - before.usedMs) / (last.atMs - before.atMs);
  return share < floorShare ? 'low' : 'idle';
}
