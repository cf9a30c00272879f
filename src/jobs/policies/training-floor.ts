// What a trainer has at least of the processor. It computes where cores idle; where other programs leave none idle it
// would stand still for ever. So one that had next to nothing for a while goes on at a low priority, which is a small
// part of contested cores, and later tries again whether cores idle. Pure.

/** How a trainer is scheduled: where cores idle, or at a low priority beside others. */
export type TrainerPriority = 'idle' | 'low';

/** What the operator chose: one of the two, or the first with the second as a floor. */
export type TrainingPriority = TrainerPriority | 'floor';

export const firstPriority = (chosen: TrainingPriority): TrainerPriority => (chosen === 'low' ? 'low' : 'idle');

/** Processor time of a trainer, milliseconds of the wall clock and of processor time since it began to train. */
export type ProcessorUse = { readonly atMs: number; readonly usedMs: number };

/** A trainer that loads its weights, or waits for the disk, may have little for moments. */
const windowMs = 60_000;
/** Of one core: less is standing still. */
const floorShare = 0.02;
/** After so long it tries again to compute where cores idle. */
const lowMs = 30 * 60_000;

/** @param uses of the trainer that lives, oldest first @returns what it should go on as */
export function nextPriority(now: TrainerPriority, uses: readonly ProcessorUse[]): TrainerPriority {
  const [first, last] = [uses[0], uses.at(-1)];
  if (first === undefined || last === undefined) return now;
  if (now === 'low') return last.atMs - first.atMs >= lowMs ? 'idle' : 'low';
  const before = uses.findLast(({ atMs }) => last.atMs - atMs >= windowMs);
  if (before === undefined) return now;
  const share = (last.usedMs - before.usedMs) / (last.atMs - before.atMs);
  return share < floorShare ? 'low' : 'idle';
}
