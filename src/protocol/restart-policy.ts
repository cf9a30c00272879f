// Decides when to start the engine again after it died. Pure: the supervisor asks, and keeps the time. A rare crash
// costs a quarter of a second, and repeated crashes cost longer and longer waits. An engine that cannot start at all
// opens the circuit: the server stops promising and tries again at long intervals, in case the cause goes away.

import type { ErrorCode } from '../core/errors.ts';

/** Causes that a restart does not change. */
export const permanentCodes: ReadonlySet<ErrorCode> = new Set([
  'model_file_invalid',
  'model_unsupported',
  'model_unavailable',
  'runtime_unavailable',
  'device_unavailable',
  'invalid_config',
  'memory_exceeded',
]);

export type RestartLimits = {
  /** Milliseconds before the first restart; doubled with each failure in a row. */
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
  /** An engine that was ready for this long starts a new count of failures. */
  readonly stableMs: number;
  /** Failed starts in a row that open the circuit. */
  readonly startFailuresMax: number;
  /** The interval of attempts while the circuit is open. */
  readonly openDelayMs: number;
};

export const defaultRestartLimits: RestartLimits = {
  firstDelayMs: 250,
  delayMsMax: 10_000,
  stableMs: 5000,
  startFailuresMax: 4,
  openDelayMs: 60_000,
};

export type RestartHistory = { readonly failures: number; readonly startFailures: number };

export const noFailures: RestartHistory = { failures: 0, startFailures: 0 };

export type Restart = { readonly history: RestartHistory; readonly delayMs: number; readonly open: boolean };

/**
 * @param readyMs how long the engine that died had been ready; null: it never was
 * @param permanent the engine named a cause that a restart cannot mend (a model that is not supported)
 */
export function nextRestart(
  history: RestartHistory,
  readyMs: number | null,
  permanent: boolean,
  limits: RestartLimits,
): Restart {
  const failures = readyMs !== null && readyMs >= limits.stableMs ? 1 : history.failures + 1;
  const startFailures = readyMs === null ? history.startFailures + 1 : 0;
  const open = permanent || startFailures >= limits.startFailuresMax;
  const delayMs = open
    ? limits.openDelayMs
    : Math.min(limits.firstDelayMs * 2 ** Math.min(failures - 1, 30), limits.delayMsMax);
  return { history: { failures, startFailures }, delayMs, open };
}
