// Watches how much of the processor a trainer gets, and says when it should continue with another priority. A process
// has its priority from its start on, so the trainer is restarted from a checkpoint.

import type { Clock } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { JobOptions } from './options.ts';
import { nextPriority, type ProcessorUse, type TrainerPriority } from './policies/training-floor.ts';
import type { TrainerLife } from './trainer-life.ts';

const periodMs = 10_000;

type Around = Pick<JobOptions, 'bounds' | 'timers' | 'trainer'> & { readonly clock: Clock };

/** @param onChange called at most once @returns a function that stops the watch */
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
