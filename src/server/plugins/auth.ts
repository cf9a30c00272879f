// Who asks, and whether the route is open to them. Deny by default: a route that declares no scope stops the start.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';
import { defaultTenant, type Scope } from '../../tenants/scopes.ts';
import { isLoopback } from '../loopback.ts';
import type { Services } from '../services.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The scope that a caller's key must have; `none` asks for no key. Every route has one. */
    scope?: Scope | 'none';
  }
  interface FastifyRequest {
    /** Comes from the key alone; never from a header or a body. */
    tenant: string;
    /** Names the caller's key in records; null on a server without keys. */
    keyPrefix: string | null;
  }
}

type Caller = { readonly tenant: string; readonly keyPrefix: string | null; can(scope: Scope): boolean };

const digest = (text: string) => createHash('sha256').update(text).digest();

export function addAuth(app: FastifyInstance, services: Services): void {
  const { keys } = services;
  const adminDigest = services.adminKey === null ? null : digest(services.adminKey);

  app.addHook('onRoute', (route) => {
    if (route.config?.scope === undefined) throw new Error(`${route.method} ${route.url} declares no scope.`);
  });

  async function callerOf(request: FastifyRequest): Promise<Caller> {
    if (adminDigest === null && !(await keys.any())) {
      // A web page can make a browser ask this server under a name of the page's own (DNS rebinding).
      if (request.hostname && !isLoopback(request.hostname)) throw new LorikeetError('host_not_allowed');
      return { tenant: defaultTenant, keyPrefix: null, can: () => true };
    }
    const key = presentedKey(request);
    if (key === null) throw new LorikeetError('invalid_api_key');
    if (adminDigest !== null && timingSafeEqual(digest(key), adminDigest)) {
      return { tenant: defaultTenant, keyPrefix: 'admin', can: () => true };
    }
    const record = await keys.verify(key);
    if (record === null) throw new LorikeetError('invalid_api_key');
    return { tenant: record.tenant, keyPrefix: record.prefix, can: (scope) => record.scopes.includes(scope) };
  }

  app.decorateRequest('tenant', '');
  app.decorateRequest('keyPrefix', null);
  app.addHook('onRequest', async (request) => {
    const { scope } = request.routeOptions.config;
    // Unknown addresses have no scope; they answer 404 to everybody.
    if (scope === 'none' || request.is404) return;
    const caller = await callerOf(request);
    if (scope === undefined || !caller.can(scope)) {
      throw new LorikeetError('insufficient_permissions', { message: `The API key lacks the scope '${scope}'.` });
    }
    request.tenant = caller.tenant;
    request.keyPrefix = caller.keyPrefix;
  });
}

function presentedKey({ headers }: FastifyRequest): string | null {
  const [, bearer] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
  const apiKey = headers['x-api-key'];
  return bearer ?? (typeof apiKey === 'string' && apiKey !== '' ? apiKey : null);
}
