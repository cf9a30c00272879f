// The answers of /v1/models.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';

/** vLLM's model card, whose `root` is a digest here and not a path on the server. */
export const ModelCard = Type.Object({
  id: Type.String(),
  object: Type.Literal('model'),
  created: Type.Integer({ description: 'Seconds since the epoch.' }),
  owned_by: Type.String(),
  root: Type.String({ description: '`sha256:` digest of the weights.' }),
  parent: Type.Union([Type.String(), Type.Null()], { description: 'The base model of an adapter.' }),
  max_model_len: Type.Union([Type.Integer(), Type.Null()], { description: 'null until the engine was ready.' }),
  permission: Type.Array(Type.Unknown()),
  versions: Type.Optional(
    Type.Array(Type.String(), { description: 'Of an adapter: each may stand in `model`, newest first.' }),
  ),
});
export type ModelCard = Type.Static<typeof ModelCard>;

export const ModelList = Type.Object({ object: Type.Literal('list'), data: Type.Array(ModelCard) });

/** Unknown parameters are ignored, since clients of other servers send their own. */
export const ModelsQuery = Type.Object({
  limit: Type.Optional(
    Type.String({
      pattern: '^(0|[1-9][0-9]{0,3})$',
      description: `Adapters at most, after the base model; ${limits.listedModels} if left out.`,
    }),
  ),
});
