// Gives every request an id, which its answer repeats, a time of arrival, one line in the log and a count in the
// metrics. The line has no body, no query and no key.

import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { Limits } from '../../../core/limits.ts';
import { digestHeader } from '../../adapters/held-adapters.ts';
import type { Services } from '../../services.ts';
import { watchChunks } from '../small-chunks.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** When the request arrived, in the clock's monotonic milliseconds. */
    arrivedAt: number;
  }
}

/** nginx's status for a request whose caller left before the answer. */
const clientClosed = 499;

/** Makes ids of requests: the caller's own where it is short and plain, so that logs of two systems can be joined. */
export function requestIds(newId: () => string, { requestIdChars }: Limits) {
  const sane = new RegExp(`^[A-Za-z0-9._:/=+-]{1,${requestIdChars}}$`);
  return ({ headers }: Pick<IncomingMessage, 'headers'>): string => {
    const given = headers['x-request-id'];
    return typeof given === 'string' && sane.test(given) ? given : `req-${newId()}`;
  };
}

/**
 * Most listeners to an answer's `close`: several parts of the server release something there, and Node warns from 11
 * on.
 */
const closeListenersMax = 32;

export function addRequests(app: FastifyInstance, services: Services): void {
  const { clock, metrics, limits } = services;
  app.decorateRequest('arrivedAt', 0);
  app.addHook('onRequest', async (request, reply) => {
    watchChunks(request.raw, limits, () => request.log.warn('a body in chunks of a few bytes was cut off'));
    request.arrivedAt = clock.monotonic();
    reply.header('x-request-id', request.id);
    if (services.draining) reply.header('connection', 'close');
    reply.raw.setMaxListeners(closeListenersMax);
    reply.raw.once('close', () => {
      const ms = clock.monotonic() - request.arrivedAt;
      const status = reply.raw.writableEnded ? reply.raw.statusCode : clientClosed;
      const route = request.routeOptions.url ?? 'unknown';
      metrics.httpAnswered({ method: request.method, route, status, ms });
      const path = request.url.split('?', 1)[0];
      const { method, tenant, keyPrefix: key, ip } = request;
      const line = { method, path, status, ms: Math.round(ms * 10) / 10, tenant, ip, keyPrefix: key };
      // The digests of the adapters that answered.
      const adapter = reply.getHeader(digestHeader);
      // Successful probes and scrapes come every few seconds, so they are logged as debug lines.
      const { scope } = request.routeOptions.config;
      const dull = status < 400 && (scope === 'none' || scope === 'metrics');
      request.log[dull ? 'debug' : 'info'](adapter === undefined ? line : { ...line, adapter }, 'request');
    });
  });
}
