// Adds to answers how old this server's knowledge may be, while its lease has run out since the database is
// unreachable.

import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import type { Services } from '../../services.ts';
import { packageVersion } from '../version.ts';

export const staleHeader = 'x-lorikeet-stale-seconds';

export function addStaleness(app: FastifyInstance, services: Services): void {
  const { changes, engine, metrics } = services;
  app.addHook('onRequest', async (_request, reply) => {
    if (changes.staleMs > 0) reply.header(staleHeader, Math.ceil(changes.staleMs / 1000));
  });
  changes.describe(() => ({
    ...{ version: packageVersion, host: hostname(), pid: process.pid },
    engine: services.draining ? 'draining' : engine.state,
    ...{ running: engine.stats.running, waiting: engine.stats.waiting },
  }));
  metrics.readReplica(() => ({ id: changes.id, staleSeconds: changes.staleMs / 1000 }));
}
