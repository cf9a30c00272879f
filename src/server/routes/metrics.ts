// GET /metrics: Prometheus text.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { errorAnswers } from '../schemas/error.ts';
import type { Services } from '../services.ts';

const schema = {
  tags: ['operation'],
  summary: 'Metrics in Prometheus text',
  response: { 200: { type: 'string' }, ...errorAnswers },
};

export const metricsRoute =
  ({ metrics }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/metrics', { config: { scope: 'metrics' }, schema }, async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
  };
