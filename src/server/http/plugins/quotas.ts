// Who may generate or change something now: looked at before a body is read, and once more when it says how long its
// caller waits, so that a refusal costs next to nothing while the server has more than it can do. Answers say what is
// left, as OpenAI's do.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { RateState } from '../../../tenants/rates.ts';
import { patienceOf } from '../../generation/answer.ts';
import type { Services } from '../../services.ts';

export function addQuotas(app: FastifyInstance, services: Services): void {
  const { engine, service, clock } = services;
  app.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.config.audit) await service.rates.change(request);
    if (!generates(request)) return;
    try {
      await service.rates.request(request);
    } finally {
      // As it is after this request; its own tokens come later.
      for (const state of service.rates.states(request)) reply.headers(rateHeaders(state));
    }
    engine.assertRoom(service.shareOf(request));
  });
  // What would come too late even with an empty prompt is not tokenised, compiles no grammar and fetches no adapter.
  app.addHook('preHandler', async (request) => {
    if (!generates(request)) return;
    const patience = patienceOf(services, request);
    if (patience === null) return;
    const timeoutMs = Math.max(0, request.arrivedAt + patience - clock.monotonic());
    engine.assertRoom(service.shareOf(request), { timeoutMs });
  });
}

/** What leaves a row is made now and generated later. */
const generates = ({ method, routeOptions: { config } }: FastifyRequest) =>
  method === 'POST' && config.scope === 'generate' && !config.audit;

function rateHeaders({ unit, limit, remaining, resetMs }: RateState): Record<string, string> {
  return {
    [`x-ratelimit-limit-${unit}`]: String(limit),
    [`x-ratelimit-remaining-${unit}`]: String(remaining),
    [`x-ratelimit-reset-${unit}`]: spanOf(resetMs),
  };
}

/** As OpenAI writes it: `250ms`, `12s`, `6m0s`. */
function spanOf(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
