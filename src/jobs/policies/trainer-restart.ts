// When a trainer that died is started again. A death after a new checkpoint has cost little, and counts as the first; a
// trainer that dies over and over before it gets any further is given up. Pure; the waits are the engine's rule.

import { defaultRestartLimits, nextRestart, noFailures, type RestartHistory } from '../../protocol/restart-policy.ts';

export type TrainerRestartLimits = {
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
  /** Deaths in a row without a new checkpoint. */
  readonly deathsMax: number;
};

export const defaultTrainerRestart: TrainerRestartLimits = { firstDelayMs: 1000, delayMsMax: 60_000, deathsMax: 6 };

/** @returns null: it is given up. */
export function restartAfterDeath(
  history: RestartHistory,
  hasProgressed: boolean,
  { deathsMax, ...delays }: TrainerRestartLimits,
): { readonly history: RestartHistory; readonly delayMs: number } | null {
  // A start that brought a checkpoint was a stable one; one that did not is a failed start.
  const limits = { ...defaultRestartLimits, ...delays, stableMs: 0, startFailuresMax: deathsMax };
  const before = hasProgressed ? noFailures : history;
  const { open, ...next } = nextRestart(before, null, false, limits);
  return open ? null : next;
}
