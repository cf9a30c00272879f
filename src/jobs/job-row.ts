// Converts between a job and its row.

import { LorikeetError } from '../core/errors.ts';
import type { JobRow } from '../storage/tables.ts';
import type { JobFailure, JobProgress, JobSpec, JobState, TrainingJobRecord } from './training-jobs.ts';

/** The trainer's final message, stored until the adapter is a version. */
export type JobOutcome = {
  readonly step: number;
  readonly trainedTokens: number;
  readonly folder: string;
  readonly bestValidLoss: number | null;
  readonly isEarly: boolean;
};

export const noProgress: JobProgress = { step: 0, steps: 0, trainedTokens: 0, finishAt: null };

export function recordOf(row: JobRow): TrainingJobRecord {
  const isDone = row.state === 'succeeded';
  return {
    id: row.id,
    tenant: row.tenant,
    state: row.state as JobState,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
    trainingFile: row.training_file,
    validationFile: row.validation_file,
    spec: JSON.parse(row.spec) as JobSpec,
    progress: JSON.parse(row.progress) as JobProgress,
    adapter: row.adapter,
    resultFile: isDone ? resultFileId(row.id) : null,
    error: row.error === null ? null : (JSON.parse(row.error) as JobFailure),
  };
}

export const outcomeOf = ({ outcome }: JobRow): JobOutcome | null =>
  outcome === null ? null : (JSON.parse(outcome) as JobOutcome);

/** Id of the results file. It comes from the job's id, so that writing it again makes no second file. */
export const resultFileId = (job: string) => `file-${idPart(job)}-results`;

/** A job's id without its prefix. */
export const idPart = (job: string) => job.replace(/^ftjob-/, '');

/** Throws `job_not_found` where there is no row: a missing job and another tenant's job look alike. */
export function present(row: JobRow | undefined, id: string): JobRow {
  if (row !== undefined) return row;
  throw new LorikeetError('job_not_found', { message: `The training job '${id.slice(0, 200)}' does not exist.` });
}
