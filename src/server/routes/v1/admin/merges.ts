// GET /v1/admin/merges: the tenant's merges, and how much of the memory for merges they use.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { listJson } from '../../../adapters/adapter-json.ts';
import { mergeJson } from '../../../merges/merge-json.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { MergeList } from '../../../schemas/merges.ts';
import type { Services } from '../../../services.ts';

const schema = {
  tags: ['merges'],
  summary: 'Merges, oldest first: state, memory, share of the traffic, quality',
  response: { 200: MergeList, ...errorAnswers },
};

export const mergesRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { merges } = services;
    app.get('/v1/admin/merges', { config: { scope: 'admin' }, schema }, async ({ tenant }) => ({
      ...listJson(merges.list(tenant).map((merge) => mergeJson(services, merge))),
      budget_bytes: merges.budgetBytes,
      used_bytes: merges.usedBytesOf(tenant),
    }));
  };
