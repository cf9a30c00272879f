// Training jobs: from files of rows to a version of an adapter. This file is the contract; the server sees nothing else
// of them. Knows tenants and states; knows no HTTP, and of training what the trainer's messages say.

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

/** States of a job that is not over: its files stay. */
export const liveStates: readonly JobState[] = ['validating_files', 'queued', 'running', 'paused'];
export const finishedStates: readonly JobState[] = ['succeeded', 'failed', 'cancelled'];

/** What a caller chose; what is left out is chosen by the size of the data. */
export type HyperparameterChoices = Partial<Hyperparameters> & {
  /** Times the rate that would be chosen; excludes `learningRate`. */
  readonly learningRateMultiplier?: number;
};

/** An alias of the new adapter's name, to move when the job succeeds. */
export type AliasMove = {
  readonly alias: string;
  /** Only where the validation loss is below that of the version which the alias points to. */
  readonly ifBetter: boolean;
  /** Share of the requests for the new version, the others' stay in proportion; null: all. */
  readonly canaryWeight: number | null;
};

export type NewJob = {
  readonly createdBy: string | null;
  /** The base model's name, or an adapter of the caller's to go on from. */
  readonly model: string;
  readonly trainingFile: string;
  readonly validationFile: string | null;
  readonly choices: HyperparameterChoices;
  /** The adapter's name; null: `ft-` and the job's id. */
  readonly suffix: string | null;
  readonly alias: AliasMove | null;
  readonly metadata: Readonly<Record<string, string>> | null;
};

/** What a job was made of, every choice made. Never changes. */
export type JobSpec = Omit<NewJob, 'choices' | 'suffix' | 'trainingFile' | 'validationFile'> & {
  readonly suffix: string | null;
  readonly adapterName: string;
  readonly hyperparameters: Hyperparameters;
  readonly trainingDigest: string;
  readonly validationDigest: string | null;
  /** The base model that it was made for. While another one runs, it waits. */
  readonly baseDigest: string;
  /** Digest of the adapter that it goes on from. */
  readonly initial: string | null;
};

export type JobProgress = {
  readonly step: number;
  /** 0 until the trainer has said how many. */
  readonly steps: number;
  readonly trainedTokens: number;
  /** How long its trainers have trained, milliseconds; left out: not yet. */
  readonly trainedMs?: number;
  /** Milliseconds since the epoch; null while it does not run. */
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
  /** `name@version`. */
  readonly adapter: string | null;
  readonly resultFile: string | null;
  readonly error: JobFailure | null;
};

export type JobEvent = {
  readonly id: string;
  readonly createdAt: number;
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  /** Of a step; null for a message. */
  readonly data: Readonly<Record<string, number>> | null;
};

export type JobCheckpoint = {
  readonly id: string;
  readonly createdAt: number;
  readonly step: number;
  readonly trainLoss: number | null;
  readonly validLoss: number | null;
  /** The checkpoint as an adapter: it can be asked for by this name. */
  readonly adapter: string;
};

export type JobPage = { readonly after: string | null; readonly limit: number };

/** Every method that names a job throws `job_not_found`, also for another tenant's. */
export type TrainingJobs = {
  /**
   * Queues a job. Throws `file_not_found`, `adapter_not_found`, `invalid_parameter`, `unsupported_parameter`,
   * `job_limit_exceeded`, `engine_unavailable` where the base model is not known yet.
   */
  create(tenant: string, job: NewJob): Promise<TrainingJobRecord>;
  /** Newest first. */
  list(tenant: string, page: JobPage): Promise<TrainingJobRecord[]>;
  find(tenant: string, id: string): Promise<TrainingJobRecord>;
  /** These three throw `job_state_conflict` where the state does not allow it; what is so already stays so. */
  cancel(tenant: string, id: string): Promise<TrainingJobRecord>;
  /** Its memory is free as soon as the trainer has written its checkpoint. */
  pause(tenant: string, id: string): Promise<TrainingJobRecord>;
  resume(tenant: string, id: string): Promise<TrainingJobRecord>;
  /** Newest first. */
  events(tenant: string, id: string, page: JobPage): Promise<JobEvent[]>;
  /** Oldest first, after `after`, until the job is over and all was said, or `stop`. */
  follow(tenant: string, id: string, after: string | null, stop: AbortSignal): Promise<AsyncIterable<JobEvent>>;
  /** Newest first. */
  checkpoints(tenant: string, id: string, page: JobPage): Promise<JobCheckpoint[]>;
  readonly stats: JobStats;
  /** The running job writes a checkpoint, if it can within `graceMs`; it goes on at the next start. */
  close(graceMs: number): Promise<void>;
};

export type JobStats = { readonly byState: Readonly<Record<string, number>>; readonly trainerRestarts: number };
