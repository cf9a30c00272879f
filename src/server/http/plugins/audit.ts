// Writes the audit log of changes. Each route that may change something declares an action's name, or that it changes
// nothing; a route that declares neither stops the start.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Services } from '../../services.ts';
import { replayedHeader } from './idempotency.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The action's name in the log; null: the route changes nothing that is kept. */
    audit?: string | null;
  }
  interface FastifyRequest {
    /** What this request changed, set by routes that know more than their address and body show. */
    changed: Partial<Changed> | null;
  }
}

type Changed = {
  readonly tenant: string;
  readonly target: string;
  readonly before: unknown;
  readonly after: unknown;
};

const readingMethods: readonly string[] = ['GET', 'HEAD', 'OPTIONS'];
/** Scopes whose routes change nothing that is kept, such as generation. */
const idleScopes: readonly unknown[] = ['generate', 'none'];

export function addAudit(app: FastifyInstance, { audit }: Services): void {
  app.addHook('onRoute', ({ method, url, config }) => {
    const reads = [method].flat().every((one) => readingMethods.includes(one)) || idleScopes.includes(config?.scope);
    if (!reads && config?.audit === undefined) throw new Error(`${method} ${url} does not say what it changes.`);
  });
  app.decorateRequest('changed', null);
  // The entry is written before the answer is sent, so that every acknowledged change is in the log.
  app.addHook('onSend', async (request, reply) => {
    const { audit: action } = request.routeOptions.config;
    // A replayed answer is of a change that was logged already.
    if (!action || reply.statusCode >= 300 || reply.hasHeader(replayedHeader)) return;
    await audit
      .write({ ...entryOf(request), action })
      // The change is made: an error now would make the caller repeat it.
      .catch((error) => request.log.error({ err: error, action }, 'a change is missing in the audit log'));
  });
}

function entryOf(request: FastifyRequest) {
  const { tenant, target, before = null, after } = request.changed ?? {};
  return {
    tenant: tenant ?? request.tenant,
    actor: request.keyPrefix ?? 'anonymous',
    ip: request.ip,
    requestId: request.id,
    target: target ?? Object.values(request.params as Record<string, string>).join(':'),
    before,
    after: after === undefined ? plainBody(request) : after,
  };
}

/** The body of a JSON request; null for an upload. */
function plainBody({ body }: FastifyRequest): unknown {
  const isPlain = typeof body === 'object' && body !== null && Object.getPrototypeOf(body) === Object.prototype;
  return isPlain ? body : null;
}
