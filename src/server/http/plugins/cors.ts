// Answers web pages of other origins (CORS) where the operator allows them. Without that setting a browser keeps pages
// of other origins from reading answers.

import type { FastifyInstance } from 'fastify';
import type { Services } from '../../services.ts';

const methods = 'GET, HEAD, POST, PUT, PATCH, DELETE';
const exposed = 'x-request-id, x-adapter-digest, x-ignored-parameters, retry-after, location, etag';

/** Must run before authentication: the preflight request of a browser carries no key. */
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
