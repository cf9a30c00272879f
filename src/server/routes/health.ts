// Probes: /livez (the process answers), /startupz (the model has been loaded), /readyz and /health (requests are
// taken), the same under KServe's names; and /load, which load balancers written for vLLM ask.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { EngineReport } from '../../protocol/engine-client.ts';
import { Liveness, Load, Readiness, Startup } from '../schemas/health.ts';
import type { Services } from '../services.ts';

const tags = ['operation'];
const config = { scope: 'none' } as const;
const live = { tags, summary: 'The process answers', security: [], response: { 200: Liveness } };
const started = {
  tags,
  summary: 'The model has been loaded: other probes may begin',
  security: [],
  response: { 200: Startup, 503: Startup },
};
const load = { tags, summary: 'Sequences that run or wait', security: [], response: { 200: Load } };
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
    for (const url of ['/livez', '/v2/health/live']) {
      app.get(url, { config, schema: live }, async () => ({ status: 'ok' as const }));
    }
    app.get('/startupz', { config, schema: started }, async (_request, reply) => {
      const isStarting = services.engine.state === 'starting';
      return reply.status(isStarting ? 503 : 200).send({ status: isStarting ? 'starting' : 'started' });
    });
    app.get('/load', { config, schema: load }, async () => {
      const { running, waiting } = services.engine.stats;
      return { server_load: running + waiting };
    });
    for (const url of ['/readyz', '/health', '/v2/health/ready']) {
      app.get(url, { config, schema: ready }, async (_request, reply) => {
        const { state, restarts, stats, engines } = services.engine;
        const reasons = [...(services.draining ? ['draining'] : []), ...(state === 'ready' ? [] : [`engine_${state}`])];
        const isReady = reasons.length === 0;
        // A problem of storage alone does not make the server unready: loaded adapters still answer, so it keeps its
        // traffic.
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
