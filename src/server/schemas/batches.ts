// The bodies and answers of /v1/batches, in OpenAI's shapes.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { batchEndpoints, batchStates } from '../../jobs/batches/batches.ts';
import { listOf } from './adapters.ts';
import { Metadata } from './fine-tuning.ts';

export const BatchBody = Type.Object(
  {
    input_file_id: Type.String({ minLength: 1, description: 'A file of purpose `batch`.' }),
    endpoint: Type.Enum([...batchEndpoints], { description: 'Of every line.' }),
    completion_window: Type.Enum(['24h'], { description: 'What has no answer by then has expired.' }),
    metadata: Type.Optional(Metadata),
  },
  { additionalProperties: false },
);
export type BatchBody = Type.Static<typeof BatchBody>;

const time = Type.Union([Type.Integer(), Type.Null()], { description: 'Seconds since the epoch.' });
const text = Type.Union([Type.String(), Type.Null()]);

export const BatchObject = Type.Object({
  id: Type.String(),
  object: Type.Literal('batch'),
  endpoint: Type.String(),
  errors: Type.Union([
    Type.Object({
      object: Type.Literal('list'),
      data: Type.Array(
        Type.Object({
          code: Type.String(),
          message: Type.String(),
          line: Type.Union([Type.Integer(), Type.Null()]),
          param: text,
        }),
      ),
    }),
    Type.Null(),
  ]),
  input_file_id: Type.String(),
  completion_window: Type.Literal('24h'),
  status: Type.Enum([...batchStates]),
  output_file_id: text,
  error_file_id: text,
  created_at: Type.Integer(),
  in_progress_at: time,
  expires_at: Type.Integer(),
  finalizing_at: time,
  completed_at: time,
  failed_at: time,
  expired_at: time,
  cancelling_at: time,
  cancelled_at: time,
  request_counts: Type.Object({ total: Type.Integer(), completed: Type.Integer(), failed: Type.Integer() }),
  metadata: Type.Union([Type.Record(Type.String(), Type.String()), Type.Null()]),
});
export type BatchObject = Type.Static<typeof BatchObject>;

export const BatchList = listOf(BatchObject);
export const BatchParams = Type.Object({ id: Type.String() });
export const BatchQuery = Type.Object(
  {
    after: Type.Optional(Type.String({ description: 'The last id of the page before.' })),
    limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,4}$', description: `1 to ${limits.listPage}.` })),
  },
  { additionalProperties: false },
);
