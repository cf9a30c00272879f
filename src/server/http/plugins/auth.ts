// Authenticates callers and checks that the route is open to them. A route without a scope stops the start.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LorikeetError } from '../../../core/errors.ts';
import { onBehalfOf } from '../../../core/on-behalf.ts';
import { defaultTenant, isTenantName, opens, type Scope } from '../../../tenants/scopes.ts';
import { assertAllowed } from '../../adapters/allowed-adapters.ts';
import type { Services } from '../../services.ts';
import { attempts } from '../attempts.ts';
import { refuseStrangers } from '../foreign-page.ts';
import { lineCaller } from './lines.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Scope that a caller's key must have; `none` needs no key. Every route must set it. Of a list the key must have
     * one, and the route itself checks that it is the right one for the request.
     */
    scope?: Scope | 'none' | readonly Scope[];
  }
  interface FastifyRequest {
    /** The key's tenant; an operator's request may name another in a header. It never comes from a body. */
    tenant: string;
    /** Names the caller's key in logs; null on a server without keys. */
    keyPrefix: string | null;
    /** Whether the caller may act for every tenant. */
    isOperator: boolean;
    /** Whether the caller's key has this scope. */
    can(scope: Scope): boolean;
    /** Adapters that the key may use, names or prefixes that end in `*`; null: all of its tenant. */
    allowedAdapters: readonly string[] | null;
  }
}

type Caller = Pick<FastifyRequest, 'tenant' | 'keyPrefix' | 'isOperator' | 'allowedAdapters' | 'can'>;

/** Header in which an operator names the tenant to act for. */
const tenantHeader = 'x-lorikeet-tenant';

const digest = (text: string) => createHash('sha256').update(text).digest();

export function addAuth(app: FastifyInstance, services: Services): void {
  const { keys } = services;
  const callerOf = callers(services);

  app.addHook('onRoute', (route) => {
    if (route.config?.scope === undefined) throw new Error(`${route.method} ${route.url} declares no scope.`);
  });
  app.decorateRequest('tenant', '');
  app.decorateRequest('keyPrefix', null);
  app.decorateRequest('isOperator', false);
  app.decorateRequest('allowedAdapters', null);
  app.decorateRequest('can', () => false);
  app.addHook('onRequest', async (request) => {
    const { scope } = request.routeOptions.config;
    const line = await lineCaller(services, request);
    if (line !== null) {
      assertScope(line, scope);
      Object.assign(request, line);
      return;
    }
    const isKeyless = services.adminKey === null && !(await keys.any());
    if (isKeyless) refuseStrangers(request, services.corsOrigins);
    // Unknown addresses have no scope, and are answered with 404 to every caller.
    if (scope === 'none' || request.is404) return;
    const { can, ...caller } = isKeyless ? anybody : await callerOf(request);
    assertScope({ can }, scope);
    Object.assign(request, caller, { can, tenant: tenantFor(request, caller) });
  });
  app.addHook('onRequest', (request, _reply, done) => onBehalfOf(request.tenant || 'a stranger', done));
  // Checks addresses that name an adapter, for all routes alike.
  app.addHook('preHandler', async ({ params, allowedAdapters }) => {
    const { name, model, id } = (params ?? {}) as Record<string, string | undefined>;
    const isAdapterId = id !== undefined && !/^((file|ftjob)-|batch_)/.test(id);
    const named = name ?? model ?? (isAdapterId ? id : undefined);
    if (named !== undefined && named !== services.model.name) assertAllowed(allowedAdapters, named);
  });
}

/** Throws `insufficient_permissions` where the caller has none of the scopes. */
export function assertScope({ can }: Pick<Caller, 'can'>, scope: Scope | 'none' | readonly Scope[] | undefined): void {
  const any = [scope ?? []].flat();
  if (any.some((one) => one === 'none' || can(one))) return;
  throw new LorikeetError('insufficient_permissions', {
    message: `The API key lacks the scope ${any.map((one) => `'${one}'`).join(' or ')}.`,
  });
}

const all = { can: () => true, isOperator: true, allowedAdapters: null };
const anybody: Caller = { ...all, tenant: defaultTenant, keyPrefix: null };

function callers({ keys, tenants, adminKey, limits, clock }: Services): (request: FastifyRequest) => Promise<Caller> {
  const adminDigest = adminKey === null ? null : digest(adminKey);
  const tries = attempts(limits, clock);
  return async (request) => {
    const key = presentedKey(request);
    if (key === null) throw new LorikeetError('invalid_api_key');
    const isKnown = keys.isRemembered(key);
    // A caller whose key is known is not locked out by other callers of the same address.
    if (!isKnown) tries.assertAllowed(request.ip);
    if (adminDigest !== null && timingSafeEqual(digest(key), adminDigest)) {
      return { ...all, tenant: defaultTenant, keyPrefix: 'admin' };
    }
    const record = await keys.verify(key, request.ip);
    if (record === null || tenants.isDisabled(record.tenant)) {
      tries.failed(request.ip);
      throw new LorikeetError('invalid_api_key');
    }
    const { tenant, prefix: keyPrefix, scopes, adapters: allowedAdapters } = record;
    const isOperator = scopes.includes('operator');
    return { tenant, keyPrefix, isOperator, allowedAdapters, can: (scope) => opens(scopes, scope) };
  };
}

/**
 * The tenant that a request acts for. Throws `insufficient_permissions` where a caller who is no operator names
 * another.
 */
function tenantFor({ headers }: FastifyRequest, { tenant, isOperator }: Omit<Caller, 'can'>): string {
  const named = headers[tenantHeader];
  if (named === undefined || named === tenant) return tenant;
  if (!isOperator) {
    throw new LorikeetError('insufficient_permissions', { message: `Only an operator may send ${tenantHeader}.` });
  }
  if (typeof named !== 'string' || !isTenantName(named)) {
    throw new LorikeetError('invalid_parameter', {
      message: `${tenantHeader} is no tenant's name.`,
      param: tenantHeader,
    });
  }
  return named;
}

function presentedKey({ headers }: FastifyRequest): string | null {
  const [, bearer] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
  const apiKey = headers['x-api-key'];
  return bearer ?? (typeof apiKey === 'string' && apiKey !== '' ? apiKey : null);
}
