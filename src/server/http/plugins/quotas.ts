// Who may generate now: looked at before a body is read, so that a refusal costs next to nothing while the server has
// more than it can do. Answers say what is left, as OpenAI's do.

import type { FastifyInstance } from 'fastify';
import type { RateState } from '../../../tenants/rates.ts';
import type { Services } from '../../services.ts';

export function addQuotas(app: FastifyInstance, { engine, service }: Services): void {
  app.addHook('onRequest', async (request, reply) => {
    const { scope, audit } = request.routeOptions.config;
    // What leaves a row is made now and generated later.
    if (request.method !== 'POST' || scope !== 'generate' || audit) return;
    try {
      await service.rates.request(request);
    } finally {
      // As it is after this request; its own tokens come later.
      for (const state of service.rates.states(request)) reply.headers(rateHeaders(state));
    }
    engine.assertRoom(service.shareOf(request));
  });
}

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
