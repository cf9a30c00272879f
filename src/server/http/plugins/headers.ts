// Sets headers that restrict what a browser may do with an answer. Routes that serve pages set their own.

import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

export function addHeaders(app: FastifyInstance): void {
  app.register(helmet, {
    // Answers are data: nothing in them may be loaded, run or framed.
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Only the proxy that terminates TLS knows whether there is TLS.
    strictTransportSecurity: false,
  });
}
