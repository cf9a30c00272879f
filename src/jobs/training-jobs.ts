// Training jobs: from training files to a version of an adapter. This file is the contract; the server uses nothing
// else of them. Knows tenants and states; knows no HTTP, and of training only the trainer's messages.

import type { Hyperparameters } from '../protocol/training-messages.ts';

export const jobStates = [
  'validating_files',
  'queued',
  'running',
  'paused',
  'succeeded',
  'failed',
  'cancelled',
] as const;
export type JobState = (typeof jobStates)[number];

/** States of a job that is not over. Its files cannot be deleted. */
export const liveStates: readonly JobState[] = ['validating_files', 'queued', 'running', 'paused'];
export const finishedStates: readonly JobState[] = ['succeeded', 'failed', 'cancelled'];

/** The caller's hyperparameters. The size of the data decides those left out. */
export type HyperparameterChoices = Partial<Hyperparameters> & {
  /** Factor on the default learning rate; excludes `learningRate`. */
  readonly learningRateMultiplier?: number;
};

/** An alias of the new adapter's name, to move when the job succeeds. */
export type AliasMove = {
  readonly alias: string;
  /** Whether it moves only where the validation loss is below that of the version which the alias points to. */
  readonly ifBetter: boolean;
  /** Share of requests for the new version, 0..1; other targets keep their proportions. null: all requests. */
  readonly canaryWeight: number | null;
};

export type NewJob = {
  readonly createdBy: string | null;
  /** Name of the base model, or an adapter of the caller's to continue from. */
  readonly model: string;
  readonly trainingFile: string;
  readonly validationFile: string | null;
  readonly choices: HyperparameterChoices;
  /** Name of the new adapter; null: `ft-` and the job's id. */
  readonly suffix: string | null;
  readonly alias: AliasMove | null;
  readonly metadata: Readonly<Record<string, string>> | null;
  /**
   * Whether the job's maker may publish adapters. A maker who may not gets a name of the job's own where others have
   * versions under the suffix. Left out in jobs of older servers: yes.
   */
  readonly mayPublish?: boolean;
};

/** The job's request with every default filled in. Never changes. */
export type JobSpec = Omit<NewJob, 'choices' | 'suffix' | 'trainingFile' | 'validationFile'> & {
  readonly suffix: string | null;
  readonly adapterName: string;
  readonly hyperparameters: Hyperparameters;
  readonly trainingDigest: string;
  readonly validationDigest: string | null;
  /** Digest of the base model. While the server has another one, the job waits. */
  readonly baseDigest: string;
  /** Digest of the adapter that it continues from; null: none. */
  readonly initial: string | null;
};

export type JobProgress = {
  readonly step: number;
  /** 0 until the trainer has reported its number of steps. */
  readonly steps: number;
  readonly trainedTokens: number;
  /** Milliseconds that its trainers have trained; left out: none yet. */
  readonly trainedMs?: number;
  /** Estimated end in milliseconds since the epoch; null while it does not run. */
  readonly finishAt: number | null;
};

export type JobFailure = { readonly code: string; readonly message: string; readonly param: string | null };

/** Times are milliseconds since the epoch. */
export type TrainingJobRecord = {
  readonly id: string;
  readonly tenant: string;
  readonly state: JobState;
  readonly createdAt: number;
  readonly finishedAt: number | null;
  readonly trainingFile: string;
  readonly validationFile: string | null;
  readonly spec: JobSpec;
  readonly progress: JobProgress;
  /** The resulting adapter as `name@version`. */
  readonly adapter: string | null;
  readonly resultFile: string | null;
  readonly error: JobFailure | null;
};

export type JobEvent = {
  readonly id: string;
  readonly createdAt: number;
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  /** Figures of a step; null for a message. */
  readonly data: Readonly<Record<string, number>> | null;
};

export type JobCheckpoint = {
  readonly id: string;
  readonly createdAt: number;
  readonly step: number;
  readonly trainLoss: number | null;
  readonly validLoss: number | null;
  /** Name of the checkpoint's adapter, with which requests can use it. */
  readonly adapter: string;
};

export type JobPage = { readonly after: string | null; readonly limit: number };

/** Every method that takes an id throws `job_not_found`, also for another tenant's job. */
export type TrainingJobs = {
  /**
   * Queues a job. Throws `file_not_found`, `adapter_not_found`, `invalid_parameter`, `unsupported_parameter`,
   * `job_limit_exceeded`, and `engine_unavailable` where the base model's shape is not known yet.
   */
  create(tenant: string, job: NewJob): Promise<TrainingJobRecord>;
  /** Jobs, newest first; `tenant` null: of all tenants. */
  list(tenant: string | null, page: JobPage): Promise<TrainingJobRecord[]>;
  find(tenant: string, id: string): Promise<TrainingJobRecord>;
  /**
   * These three throw `job_state_conflict` where the state does not allow it; a job that is in the state already stays.
   */
  cancel(tenant: string, id: string): Promise<TrainingJobRecord>;
  /** Pauses a job. Its memory is free as soon as the trainer has written its checkpoint. */
  pause(tenant: string, id: string): Promise<TrainingJobRecord>;
  resume(tenant: string, id: string): Promise<TrainingJobRecord>;
  /** Events of a job, newest first. */
  events(tenant: string, id: string, page: JobPage): Promise<JobEvent[]>;
  /** Events after `after`, oldest first, until the job is over and all its events were read, or `stop` is aborted. */
  follow(tenant: string, id: string, after: string | null, stop: AbortSignal): Promise<AsyncIterable<JobEvent>>;
  /** Checkpoints of a job, newest first. */
  checkpoints(tenant: string, id: string, page: JobPage): Promise<JobCheckpoint[]>;
  readonly stats: JobStats;
  /** Lets the running job write a checkpoint within `graceMs`; it continues at the next start. */
  close(graceMs: number): Promise<void>;
};

export type JobStats = { readonly byState: Readonly<Record<string, number>>; readonly trainerRestarts: number };
