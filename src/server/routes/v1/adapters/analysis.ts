// /v1/adapters/{name}/analysis: what an adapter changes in each linear, and how similar it is to another one.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LRUCache } from 'lru-cache';
import type { AdapterAnalysis } from '../../../../protocol/offline-messages.ts';
import { analysisJson } from '../../../adapters/analysis-json.ts';
import { digestHeader } from '../../../adapters/held-adapters.ts';
import { withLeases } from '../../../adapters/offline-work.ts';
import { NameParams } from '../../../schemas/adapters.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { Analysis, AnalysisQuery } from '../../../schemas/offline.ts';
import type { Services } from '../../../services.ts';

const config = { scope: 'adapters' } as const;
const url = '/v1/adapters/:name/analysis';
const schema = {
  tags: ['adapters'],
  summary: 'Singular values, effective rank and amplification of what an adapter adds, and its nearness to another',
  description:
    'Of ΔW = s·B·A for each linear (LoRA, arXiv 2106.09685, section 7); the first time it takes seconds. ' +
    'With `against`, φ(i, j) = ‖U_iᵀU′_j‖²_F / min(i, j) of the leading singular directions of both.',
  params: NameParams,
  querystring: AnalysisQuery,
  response: { 200: Analysis, ...errorAnswers },
};

export const analysisRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { offline, limits } = services;
    // Known analyses by the adapters' digests. Contents never change, and tenants share them.
    const known = new LRUCache<string, AdapterAnalysis>({ max: limits.analysesKept });

    const analyse = async (tenant: string, ...work: Parameters<typeof offline.analyse>) => {
      const leave = services.offlinePlace(tenant);
      return await offline.analyse(...work).finally(leave);
    };

    app.get(url, { config, schema, exposeHeadRoute: false }, async (request, reply) => {
      const { against } = request.query;
      const named = [{ reference: request.params.name, param: 'name' }];
      if (against !== undefined) named.push({ reference: against, param: 'against' });
      return withLeases(services, { request, reply }, named, async ([lease, other = null], signal) => {
        const order = { adapter: lease!.files, against: other?.files ?? null };
        const key = `${order.adapter.digest} ${order.against?.digest}`;
        const analysis = known.get(key) ?? (await analyse(request.tenant, order, signal));
        known.set(key, analysis);
        reply.header(digestHeader, lease!.adapter.digest);
        return analysisJson(analysis, lease!.adapter, other?.adapter ?? null);
      });
    });
  };
