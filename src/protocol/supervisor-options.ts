// Options of the supervisor: what it starts, its time limits, its clock and its log.

import type { Clock, Timers } from '../core/clock.ts';
import type { StartEngineProcess } from './engine-process.ts';
import type { EngineConfig } from './messages.ts';
import { defaultRestartLimits, type RestartLimits } from './restart-policy.ts';

export type SupervisorLimits = RestartLimits & {
  readonly waitingRequests: number;
  readonly waitingTokens: number;
  /** Silence after which an engine counts as hanging: a step of the largest batch takes seconds on a slow machine. */
  readonly silentMsMax: number;
  /** Longest start of an engine. Files are downloaded before, but weights may be lowered for the first time. */
  readonly startMsMax: number;
  /** Longest time between the command to stop and the engine's end. */
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
  /** One engine is started for each. */
  readonly configs: readonly EngineConfig[];
  readonly limits: SupervisorLimits;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: SupervisorLog;
};
