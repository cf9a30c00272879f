// The answers of /v1/files, in OpenAI's shapes.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { listOf } from './adapters.ts';

export const FileObject = Type.Object({
  id: Type.String(),
  object: Type.Literal('file'),
  bytes: Type.Integer(),
  created_at: Type.Integer({ description: 'Seconds since the epoch.' }),
  filename: Type.String(),
  purpose: Type.Enum(['fine-tune', 'fine-tune-results', 'batch', 'batch_output']),
  status: Type.Literal('processed', { description: 'It is here, whole.' }),
  digest: Type.String({ description: '`sha256:` of its bytes.' }),
  rows: Type.Integer({ description: 'Rows to train on, or lines of a batch.' }),
});
export type FileObject = Type.Static<typeof FileObject>;

export const FileList = listOf(FileObject);
export const FileParams = Type.Object({ id: Type.String() });

export const FileQuery = Type.Object(
  {
    after: Type.Optional(Type.String({ description: 'The last id of the page before.' })),
    limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,4}$', description: `1 to ${limits.listPage}.` })),
    order: Type.Optional(Type.Enum(['asc', 'desc'], { description: 'By age; desc, the newest first, if left out.' })),
    purpose: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);
