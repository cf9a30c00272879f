// Gives files, jobs, events and checkpoints OpenAI's shapes. Times become seconds.

import type { TrainingFile } from '../../jobs/training-files.ts';
import type { JobCheckpoint, JobEvent, TrainingJobRecord } from '../../jobs/training-jobs.ts';
import type { TrainingRecord } from '../../registry/adapter-registry.ts';
import { epochSeconds, epochSecondsOrNull } from '../http/epoch-seconds.ts';
import type { FileObject } from '../schemas/files.ts';
import type { Checkpoint, Job, JobEvent as JobEventJson } from '../schemas/fine-tuning.ts';
import { hyperparametersJson } from './hyperparameters.ts';

export function fileJson(file: TrainingFile): FileObject {
  const { id, bytes, createdAt, filename, purpose, digest, rows } = file;
  const created_at = epochSeconds(createdAt);
  return { id, object: 'file', bytes, created_at, filename, purpose, status: 'processed', digest, rows };
}

export function jobJson(job: TrainingJobRecord): Job {
  const { spec, progress } = job;
  const hyperparameters = hyperparametersJson(spec.hyperparameters);
  return {
    id: job.id,
    object: 'fine_tuning.job',
    created_at: epochSeconds(job.createdAt),
    finished_at: epochSecondsOrNull(job.finishedAt),
    estimated_finish: job.state === 'running' ? epochSecondsOrNull(progress.finishAt) : null,
    status: job.state,
    model: spec.model,
    fine_tuned_model: job.adapter,
    training_file: job.trainingFile,
    validation_file: job.validationFile,
    result_files: job.resultFile === null ? [] : [job.resultFile],
    trained_tokens: job.state === 'succeeded' ? progress.trainedTokens : null,
    hyperparameters,
    method: { type: 'supervised', supervised: { hyperparameters } },
    seed: spec.hyperparameters.seed,
    suffix: spec.suffix,
    alias: spec.alias?.alias ?? null,
    step: progress.step,
    total_steps: progress.steps === 0 ? null : progress.steps,
    error: job.error,
    organization_id: job.tenant,
    metadata: spec.metadata,
    integrations: [],
  };
}

export function eventJson({ id, createdAt, level, message, data }: JobEvent): JobEventJson {
  const type = data === null ? 'message' : 'metrics';
  return { id, object: 'fine_tuning.job.event', created_at: epochSeconds(createdAt), level, message, type, data };
}

export function checkpointJson(job: string, checkpoint: JobCheckpoint): Checkpoint {
  const { id, createdAt, step, trainLoss, validLoss, adapter } = checkpoint;
  return {
    id,
    object: 'fine_tuning.job.checkpoint',
    created_at: epochSeconds(createdAt),
    fine_tuning_job_id: job,
    fine_tuned_model_checkpoint: adapter,
    step_number: step,
    metrics: {
      step,
      ...(trainLoss === null ? {} : { train_loss: trainLoss }),
      ...(validLoss === null ? {} : { valid_loss: validLoss, full_valid_loss: validLoss }),
    },
  };
}

/** How a version was trained. */
export const provenanceJson = (record: TrainingRecord) => ({
  job: record.job,
  training_file: record.trainingFile,
  validation_file: record.validationFile,
  initial: record.initial,
  hyperparameters: hyperparametersJson(record.hyperparameters),
  steps: record.steps,
  trained_tokens: record.trainedTokens,
  valid_loss: record.validLoss,
  loss_curve: record.curve.map(({ step, trainLoss, validLoss }) => ({
    step,
    train_loss: trainLoss,
    ...(validLoss === null ? {} : { valid_loss: validLoss }),
  })),
});
