// The audit log of what routes change. Every route that can change something says what its change is called, or that it
// changes nothing: one that says neither stops the start.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Services } from '../../services.ts';
import { replayedHeader } from './idempotency.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the log calls a change by this route; null: it changes nothing that is kept. */
    audit?: string | null;
  }
  interface FastifyRequest {
    /** What this request has changed. Said by routes that know more than their address and body. */
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
/** Generation changes nothing that is kept. */
const idleScopes: readonly unknown[] = ['generate', 'none'];

export function addAudit(app: FastifyInstance, { audit }: Services): void {
  app.addHook('onRoute', ({ method, url, config }) => {
    const reads = [method].flat().every((one) => readingMethods.includes(one)) || idleScopes.includes(config?.scope);
    if (!reads && config?.audit === undefined) throw new Error(`${method} ${url} does not say what it changes.`);
  });
  app.decorateRequest('changed', null);
  // Before the answer leaves: what is acknowledged is in the log.
  app.addHook('onSend', async (request, reply) => {
    const { audit: action } = request.routeOptions.config;
    // An answer that is given again is of a change that has its row.
    if (!action || reply.statusCode >= 300 || reply.hasHeader(replayedHeader)) return;
    await audit
      .write({ ...entryOf(request), action })
      // It has been done: an error now would make the caller do it again.
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

/** What was asked for, of a JSON body; never the bytes of an upload. */
function plainBody({ body }: FastifyRequest): unknown {
  const isPlain = typeof body === 'object' && body !== null && Object.getPrototypeOf(body) === Object.prototype;
  return isPlain ? body : null;
}
