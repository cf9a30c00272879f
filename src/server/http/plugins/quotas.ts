// Refuses requests by quota, and by the engine's queue: before a body is read, and again when the body's timeout is
// known, so that refusals are cheap while the server is overloaded. Answers say what is left of the quotas, in OpenAI's
// headers.

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
      // What is left after this request; its tokens are counted later.
      for (const state of service.rates.states(request)) reply.headers(rateHeaders(state));
    }
    engine.assertRoom(service.shareOf(request));
  });
  // Refuses a request that would be late even with an empty prompt, before any encoding, grammar or adapter is worked
  // on.
  app.addHook('preHandler', async (request) => {
    if (!generates(request)) return;
    const patience = patienceOf(services, request);
    if (patience === null) return;
    const timeoutMs = Math.max(0, request.arrivedAt + patience - clock.monotonic());
    engine.assertRoom(service.shareOf(request), { timeoutMs });
  });
}

/** Whether a route generates at once. A route that is audited only stores work that is generated later. */
const generates = ({ method, routeOptions: { config } }: FastifyRequest) =>
  method === 'POST' && config.scope === 'generate' && !config.audit;

function rateHeaders({ unit, limit, remaining, resetMs }: RateState): Record<string, string> {
  return {
    [`x-ratelimit-limit-${unit}`]: String(limit),
    [`x-ratelimit-remaining-${unit}`]: String(remaining),
    [`x-ratelimit-reset-${unit}`]: spanOf(resetMs),
  };
}

/** A duration as OpenAI writes it: `250ms`, `12s`, `6m0s`. */
function spanOf(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
