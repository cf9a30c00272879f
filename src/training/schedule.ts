// Learning rate by step, as transformers' get_constant/linear/cosine_schedule_with_warmup.

import type { Hyperparameters } from '../protocol/training-messages.ts';

export type ScheduleSettings = Pick<Hyperparameters, 'learningRate' | 'schedule' | 'warmupSteps'>;

/** @param step from 0: with warm-up the first step has a rate of 0 */
export function learningRateAt(
  step: number,
  steps: number,
  { learningRate, schedule, warmupSteps }: ScheduleSettings,
): number {
  if (step < warmupSteps) return (learningRate * step) / warmupSteps;
  const done = (step - warmupSteps) / Math.max(1, steps - warmupSteps);
  if (schedule === 'linear') return learningRate * Math.max(0, 1 - done);
  if (schedule === 'cosine') return learningRate * Math.max(0, 0.5 * (1 + Math.cos(Math.PI * done)));
  return learningRate;
}
