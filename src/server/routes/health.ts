// Probes: /livez (the process answers), /readyz and /health (it can serve now).

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { EngineReport } from '../../protocol/engine-client.ts';
import { Liveness, Readiness } from '../schemas/health.ts';
import type { Services } from '../services.ts';

const tags = ['operation'];
const config = { scope: 'none' } as const;
const live = { tags, summary: 'The process answers', security: [], response: { 200: Liveness } };
const ready = {
  tags,
  summary: 'The server takes requests',
  security: [],
  response: { 200: Readiness, 503: Readiness },
};

const processJson = ({ name, state, restarts, stats: { running, waiting } }: EngineReport) => ({
  ...{ name, state, restarts, running, waiting },
});

export const healthRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/livez', { config, schema: live }, async () => ({ status: 'ok' as const }));
    for (const url of ['/readyz', '/health']) {
      app.get(url, { config, schema: ready }, async (_request, reply) => {
        const { state, restarts, stats, engines } = services.engine;
        const reasons = [...(services.draining ? ['draining'] : []), ...(state === 'ready' ? [] : [`engine_${state}`])];
        const isReady = reasons.length === 0;
        // What is loaded goes on answering, so that no traffic is taken away.
        const stale = services.changes.staleMs > 0 ? 'registry_stale' : null;
        const missing = engines.every((one) => one.state === 'ready') ? null : 'engine_degraded';
        const problem = services.storage.problem() ?? stale ?? (state === 'ready' ? missing : null);
        return reply.status(isReady ? 200 : 503).send({
          status: isReady ? (problem === null ? 'ok' : 'degraded') : 'unavailable',
          reasons: problem === null ? reasons : [...reasons, problem],
          engine: {
            state,
            restarts,
            running: stats.running,
            waiting: stats.waiting,
            processes: engines.map(processJson),
          },
        });
      });
    }
  };
