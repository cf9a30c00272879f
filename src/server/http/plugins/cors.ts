// Answers to web pages of other origins (CORS), where the operator allows them. Without a setting there are none: a
// browser then keeps pages of others from reading anything here.

import type { FastifyInstance } from 'fastify';
import type { Services } from '../../services.ts';

const methods = 'GET, HEAD, POST, PUT, PATCH, DELETE';
const exposed = 'x-request-id, x-adapter-digest, x-ignored-parameters, retry-after, location, etag';

/** Before keys are asked for: a browser's question before the request carries none. */
export function addCors(app: FastifyInstance, { corsOrigins }: Services): void {
  if (corsOrigins.length === 0) return;
  const isAny = corsOrigins.includes('*');
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers;
    if (origin === undefined || !(isAny || corsOrigins.includes(origin))) return;
    reply.header('access-control-allow-origin', isAny ? '*' : origin);
    if (!isAny) reply.header('vary', 'origin');
    reply.header('access-control-expose-headers', exposed);
    const { 'access-control-request-method': asked, 'access-control-request-headers': headers } = request.headers;
    if (request.method !== 'OPTIONS' || asked === undefined) return;
    reply.header('access-control-allow-methods', methods);
    reply.header('access-control-allow-headers', headers ?? 'authorization, content-type');
    reply.header('access-control-max-age', '600');
    return reply.status(204).send();
  });
}
