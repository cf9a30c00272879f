// Looks whether a trainer gets anything of the processor, and says when it should go on with another priority: that is
// a process's from its start, so that the trainer is started again from a checkpoint.

import type { Clock } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { JobOptions } from './options.ts';
import { nextPriority, type ProcessorUse, type TrainerPriority } from './policies/training-floor.ts';
import type { TrainerLife } from './trainer-life.ts';

const periodMs = 10_000;

type Around = Pick<JobOptions, 'bounds' | 'timers' | 'trainer'> & { readonly clock: Clock };

/** @param onChange called at most once @returns what ends it */
export function watchPriority(
  { bounds, timers, trainer, clock }: Around,
  life: Pick<TrainerLife, 'processorMs'>,
  priority: TrainerPriority,
  onChange: (next: TrainerPriority) => void,
): () => void {
  if (bounds.priority !== 'floor' || trainer.device !== 'cpu') return () => {};
  const uses: ProcessorUse[] = [];
  const look = () => {
    const usedMs = life.processorMs();
    if (usedMs !== null) uses.push({ atMs: clock.monotonic(), usedMs });
    const next = nextPriority(priority, uses);
    if (next === priority) return;
    stop();
    onChange(next);
  };
  const stop = repeatedly(timers, periodMs, look);
  look();
  return stop;
}
