// Headers that keep browsers from doing more with an answer than it is for. Routes with pages of their own say theirs.

import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

export function addHeaders(app: FastifyInstance): void {
  app.register(helmet, {
    // Answers are data: nothing in them is loaded, run or framed.
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Whether there is TLS is known to who terminates it.
    strictTransportSecurity: false,
  });
}
