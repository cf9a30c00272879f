// GET /metrics: metrics as Prometheus text. A tenant's keys see the names of the tenant's adapters, an operator sees
// all.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { errorAnswers } from '../schemas/error.ts';
import type { Services } from '../services.ts';

const text = { 'text/plain': { schema: { type: 'string' } } };
const schema = {
  tags: ['operation'],
  summary: 'Metrics in Prometheus text',
  response: { 200: { description: "With the names of the caller's adapters.", content: text }, ...errorAnswers },
};

export const metricsRoute =
  ({ metrics }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/metrics', { config: { scope: 'metrics' }, schema }, async ({ tenant, isOperator }, reply) =>
      reply.type(metrics.contentType).send(await metrics.text(isOperator ? null : tenant)),
    );
  };
