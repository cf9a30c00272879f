// The bodies and answers of /v1/fine_tuning/jobs, in OpenAI's shapes. `paused`, `alias` and some hyperparameters are
// additions.

import { type TSchema, Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { listOf } from './adapters.ts';
import { HyperparametersBody } from './hyperparameters.ts';

const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const seconds = (description: string) => Type.Integer({ description: `${description} Seconds since the epoch.` });

export const Metadata = Type.Record(
  Type.String({ minLength: 1, maxLength: limits.metadataKeyChars }),
  Type.String({ maxLength: limits.metadataValueChars }),
  { maxProperties: limits.metadataEntries },
);

const Method = Type.Object(
  {
    type: Type.Enum(['supervised', 'dpo', 'reinforcement'], { description: 'supervised; the others are refused.' }),
    supervised: Type.Optional(
      Type.Object({ hyperparameters: Type.Optional(HyperparametersBody) }, { additionalProperties: false }),
    ),
    dpo: Type.Optional(Type.Unknown()),
    reinforcement: Type.Optional(Type.Unknown()),
  },
  { additionalProperties: false },
);

export const JobBody = Type.Object(
  {
    model: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: limits.adapterReferenceChars,
        description: "The base model, as if left out, or one of the caller's adapters.",
      }),
    ),
    training_file: Type.String({ minLength: 1 }),
    validation_file: Type.Optional(Type.String({ minLength: 1 })),
    method: Type.Optional(Method),
    hyperparameters: Type.Optional(HyperparametersBody),
    seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
    suffix: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: limits.suffixChars,
        description: "The adapter's name; `ft-...` without.",
      }),
    ),
    alias: Type.Optional(Type.String({ description: 'Of that name, to move to the new version on success.' })),
    alias_if_better: Type.Optional(
      Type.Boolean({ default: false, description: 'Only if its validation loss beats that of the version there.' }),
    ),
    canary_weight: Type.Optional(
      Type.Number({ exclusiveMinimum: 0, maximum: 1, description: 'Share of requests for the new version.' }),
    ),
    metadata: Type.Optional(Metadata),
    integrations: Type.Optional(Type.Array(Type.Unknown(), { description: 'Refused: this server calls no others.' })),
  },
  { additionalProperties: false },
);
export type JobBody = Type.Static<typeof JobBody>;

export const Job = Type.Object({
  id: Type.String(),
  object: Type.Literal('fine_tuning.job'),
  created_at: seconds(''),
  finished_at: nullable(seconds('')),
  estimated_finish: nullable(seconds('While it runs.')),
  status: Type.Enum(['validating_files', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled']),
  model: Type.String(),
  fine_tuned_model: nullable(Type.String({ description: 'The adapter, as `name@version`.' })),
  training_file: Type.String(),
  validation_file: nullable(Type.String()),
  result_files: Type.Array(Type.String()),
  trained_tokens: nullable(Type.Integer()),
  hyperparameters: Type.Record(Type.String(), Type.Unknown()),
  method: Type.Object({
    type: Type.Literal('supervised'),
    supervised: Type.Object({ hyperparameters: Type.Record(Type.String(), Type.Unknown()) }),
  }),
  seed: Type.Integer(),
  suffix: nullable(Type.String()),
  alias: nullable(Type.String()),
  step: Type.Integer({ description: 'Optimiser steps done.' }),
  total_steps: nullable(Type.Integer()),
  error: nullable(Type.Object({ code: Type.String(), message: Type.String(), param: nullable(Type.String()) })),
  organization_id: Type.String({ description: 'The tenant.' }),
  metadata: nullable(Metadata),
  integrations: Type.Array(Type.Unknown()),
});
export type Job = Type.Static<typeof Job>;

export const JobEvent = Type.Object({
  id: Type.String(),
  object: Type.Literal('fine_tuning.job.event'),
  created_at: seconds(''),
  level: Type.Enum(['info', 'warn', 'error']),
  message: Type.String(),
  type: Type.Enum(['message', 'metrics']),
  data: nullable(Type.Record(Type.String(), Type.Number())),
});
export type JobEvent = Type.Static<typeof JobEvent>;

export const Checkpoint = Type.Object({
  id: Type.String(),
  object: Type.Literal('fine_tuning.job.checkpoint'),
  created_at: seconds(''),
  fine_tuning_job_id: Type.String(),
  fine_tuned_model_checkpoint: Type.String({ description: 'The checkpoint as an adapter; the latest few are kept.' }),
  step_number: Type.Integer(),
  metrics: Type.Record(Type.String(), Type.Number()),
});
export type Checkpoint = Type.Static<typeof Checkpoint>;

export const JobList = listOf(Job);
export const JobEventList = listOf(JobEvent);
export const CheckpointList = listOf(Checkpoint);
export const JobParams = Type.Object({ id: Type.String() });

const page = {
  after: Type.Optional(Type.String({ description: 'The last id of the page before.' })),
  limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,2}$', description: `1 to ${limits.listPage}; 20.` })),
};
export const JobPageQuery = Type.Object(page, { additionalProperties: false });
export const EventQuery = Type.Object(
  { ...page, stream: Type.Optional(Type.Enum(['true', 'false'], { description: 'Oldest first, as they come.' })) },
  { additionalProperties: false },
);
