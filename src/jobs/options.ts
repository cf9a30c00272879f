// Options of the jobs, made by the composition root.

import type { ModelFiles, ModelShape } from '../core/base-model.ts';
import type { Clock, Timers } from '../core/clock.ts';
import type { QuotaCheck } from '../core/quota-check.ts';
import type { EngineClient } from '../protocol/engine-client.ts';
import type { StartTrainerProcess } from '../protocol/trainer-process.ts';
import type { TrainingJob, TrainingMetrics } from '../protocol/training-messages.ts';
import type { AdapterRegistry } from '../registry/adapter-registry.ts';
import type { Database } from '../storage/database.ts';
import type { Files } from '../storage/files.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import type { Changes } from '../storage/replicas/changes.ts';
import type { AuditLog } from '../tenants/audit.ts';
import type { TrainerRestartLimits } from './policies/trainer-restart.ts';
import type { TrainingPriority } from './policies/training-floor.ts';

/** The base model that adapters are trained for. */
export type TrainedBase = {
  readonly files: ModelFiles;
  /** The model's shape. Throws `engine_unavailable` before the engine is ready for the first time. */
  shape(): ModelShape;
};

/** Settings that are the same for every trainer. */
export type TrainerConfig = Pick<
  TrainingJob,
  'weightBits' | 'cacheDir' | 'device' | 'precision' | 'ortLibrary' | 'cudaDir' | 'threads' | 'memory'
>;

export type TrainingBounds = {
  /** Milliseconds that a job trains before another tenant's job has its turn. */
  readonly turnMs: number;
  /** Optimiser steps of a job, and milliseconds that its trainers may train. A job beyond either fails. */
  readonly stepsMax: number;
  readonly trainingMsMax: number;
  readonly priority: TrainingPriority;
};

export type JobLog = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

/** Counts training steps for metrics and usage. */
export type JobMeter = {
  stepTaken(step: Pick<TrainingMetrics, 'tokens' | 'tokensPerSecond'>, tenant: string): void;
};

export type JobOptions = {
  readonly database: Database;
  /** An absolute path, made if it is missing. Only one process may use it. */
  readonly folder: string;
  readonly base: TrainedBase;
  readonly registry: AdapterRegistry;
  readonly startTrainer: StartTrainerProcess;
  readonly trainer: TrainerConfig;
  /** Lets the engine leave a share of its time to the trainer. */
  readonly engine: Pick<EngineClient, 'leaveRoom'>;
  /** The share for the trainer, from policies/training-room.ts. */
  readonly share: number;
  /** Number of batch lines that are answered at once; left out: one. */
  readonly batchPlaces?: () => number;
  readonly restart: TrainerRestartLimits;
  readonly bounds: TrainingBounds;
  readonly meter: JobMeter;
  /** Left out: there are no quotas. */
  readonly assertQuota?: QuotaCheck;
  /** Tokens that a tenant's jobs have trained since a time in milliseconds of the epoch; left out: not checked. */
  readonly trainedSince?: (tenant: string, since: number) => Promise<number>;
  /** Log of the versions published and aliases moved for jobs; left out: none. */
  readonly audit?: Pick<AuditLog, 'write'>;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Makes an id of letters and digits. */
  readonly newId: () => string;
  readonly newSeed: () => number;
  readonly log: JobLog;
  readonly files: Files;
  /** The store of training files and checkpoints that servers share; left out: they are only in the folder. */
  readonly shared?: ObjectStore | null;
  /** The feed of other servers; left out: there are none. */
  readonly changes?: Changes;
};
