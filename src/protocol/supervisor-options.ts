// What the supervisor is given: what it starts, how long it waits for what, and the time that it lives in.

import type { Clock, Timers } from '../core/clock.ts';
import type { StartEngineProcess } from './engine-process.ts';
import type { EngineConfig } from './messages.ts';
import { defaultRestartLimits, type RestartLimits } from './restart-policy.ts';

export type SupervisorLimits = RestartLimits & {
  readonly waitingRequests: number;
  readonly waitingTokens: number;
  /** A step of the largest batch takes seconds on a slow machine; an engine silent for this long hangs. */
  readonly silentMsMax: number;
  /** Downloading is over by now, but weights may still be lowered for the first time. */
  readonly startMsMax: number;
  /** How long an engine that was told to stop may take. */
  readonly stopMsMax: number;
};

export const defaultSupervisorLimits: Omit<SupervisorLimits, 'waitingRequests' | 'waitingTokens'> = {
  ...defaultRestartLimits,
  silentMsMax: 120_000,
  startMsMax: 30 * 60_000,
  stopMsMax: 5_000,
};

export type SupervisorLog = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

export type SupervisorOptions = {
  readonly startProcess: StartEngineProcess;
  /** One engine for each. */
  readonly configs: readonly EngineConfig[];
  readonly limits: SupervisorLimits;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: SupervisorLog;
};
