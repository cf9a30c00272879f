// What the jobs are given. They make none of these themselves.

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
  /** Known once the engine was ready. Throws `engine_unavailable` before. */
  shape(): ModelShape;
};

/** How every trainer computes. */
export type TrainerConfig = Pick<
  TrainingJob,
  'weightBits' | 'cacheDir' | 'device' | 'ortLibrary' | 'cudaDir' | 'threads' | 'memory'
>;

export type TrainingBounds = {
  /** How long a tenant's job trains before another tenant's has its turn. */
  readonly turnMs: number;
  /** Optimiser steps of a job, and how long its trainers may train; beyond that it fails. */
  readonly stepsMax: number;
  readonly trainingMsMax: number;
  readonly priority: TrainingPriority;
};

export type JobLog = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

/** What is counted of training, by whoever keeps the counts. */
export type JobMeter = {
  stepTaken(step: Pick<TrainingMetrics, 'tokens' | 'tokensPerSecond'>, tenant: string): void;
};

export type JobOptions = {
  readonly database: Database;
  /** Absolute; made if it is missing. Only one process may use it. */
  readonly folder: string;
  readonly base: TrainedBase;
  readonly registry: AdapterRegistry;
  readonly startTrainer: StartTrainerProcess;
  readonly trainer: TrainerConfig;
  /** Leaves room for the trainer: this share of the time beside those who are served. */
  readonly engine: Pick<EngineClient, 'leaveRoom'>;
  /** As policies/training-room.ts has it. */
  readonly share: number;
  /** Lines of batches that are answered at once; left out: one. */
  readonly batchPlaces?: () => number;
  readonly restart: TrainerRestartLimits;
  readonly bounds: TrainingBounds;
  readonly meter: JobMeter;
  /** Left out: nobody has a quota. */
  readonly assertQuota?: QuotaCheck;
  /** Tokens that a tenant's jobs trained since, by the wall clock's milliseconds; left out: nobody asks. */
  readonly trainedSince?: (tenant: string, since: number) => Promise<number>;
  /** What is published and moved for a job; left out: nobody reads it. */
  readonly audit?: Pick<AuditLog, 'write'>;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Letters and digits. */
  readonly newId: () => string;
  readonly newSeed: () => number;
  readonly log: JobLog;
  readonly files: Files;
  /** Where files of rows and checkpoints are that other servers share; left out: the folder has them. */
  readonly shared?: ObjectStore | null;
  /** Servers beside this one; left out: there are none. */
  readonly changes?: Changes;
};
