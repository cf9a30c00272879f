// GET /v1/models and /v1/models/{model}.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import { baseModelCard, checkModel } from '../../models.ts';
import { errorAnswers } from '../../schemas/error.ts';
import { ModelCard, ModelList } from '../../schemas/models.ts';
import type { Services } from '../../services.ts';

const tags = ['models'];
const config = { scope: 'generate' } as const;
const list = { tags, summary: 'List what can be asked for', response: { 200: ModelList, ...errorAnswers } };
const one = {
  tags,
  summary: 'One model',
  params: Type.Object({ model: Type.String() }),
  response: { 200: ModelCard, ...errorAnswers },
};

export const modelsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/v1/models', { config, schema: list }, async () => ({
      object: 'list' as const,
      data: [baseModelCard(services)],
    }));
    app.get('/v1/models/:model', { config, schema: one }, async (request) => {
      checkModel(services, request.params.model);
      return baseModelCard(services);
    });
  };
