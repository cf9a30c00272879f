// When a trainer that died is started again. A death after a new checkpoint counts as the first, since little is lost.
// A trainer that dies repeatedly without a new checkpoint is given up. Pure; the delays follow the engine's rule.

import { defaultRestartLimits, nextRestart, noFailures, type RestartHistory } from '../../protocol/restart-policy.ts';

export type TrainerRestartLimits = {
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
  /** Deaths in a row without a new checkpoint. */
  readonly deathsMax: number;
};

export const defaultTrainerRestart: TrainerRestartLimits = { firstDelayMs: 1000, delayMsMax: 60_000, deathsMax: 6 };

/** @returns the next start; null: the trainer is given up. */
export function restartAfterDeath(
  history: RestartHistory,
  hasProgressed: boolean,
  { deathsMax, ...delays }: TrainerRestartLimits,
): { readonly history: RestartHistory; readonly delayMs: number } | null {
  // In the engine's rule, a start with a new checkpoint counts as stable, and one without it as failed.
  const limits = { ...defaultRestartLimits, ...delays, stableMs: 0, startFailuresMax: deathsMax };
  const before = hasProgressed ? noFailures : history;
  const { open, ...next } = nextRestart(before, null, false, limits);
  return open ? null : next;
}
