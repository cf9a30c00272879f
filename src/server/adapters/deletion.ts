// Deletes adapters for all routes that do so. A deletion waits for the requests that use the adapter: the answer waits
// for a short deletion, and not for a long one.

import type { FastifyBaseLogger, FastifyRequest } from 'fastify';
import type { Services } from '../services.ts';
import { adaptersJson, idOf } from './adapter-json.ts';

type Target = {
  readonly name: string;
  /** null: all versions of the name. */
  readonly version: number | null;
};

/**
 * Deletes a version or a name, and says for the audit log what was there. Waits `limits.deletionWaitMs` at most; an
 * error after that time is logged. Throws the registry's errors.
 * @returns whether the deletion is over
 */
export async function deleteAdapter(
  services: Services,
  request: FastifyRequest,
  { name, version }: Target,
): Promise<boolean> {
  const { registry, limits } = services;
  const { tenant, log } = request;
  const target = version === null ? name : idOf({ name, version });
  const found = version === null ? await registry.versions(tenant, name) : [await registry.find(tenant, target)];
  request.changed = { target, before: await adaptersJson(services, tenant, found) };
  return await settledWithin(limits.deletionWaitMs, registry.delete(tenant, name, version), log);
}

/**
 * Waits for `deletion`, at most `ms`. An error after that time is logged.
 * @returns whether the deletion is over
 */
async function settledWithin(ms: number, deletion: Promise<void>, log: FastifyBaseLogger): Promise<boolean> {
  const waited = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => waited.resolve(false), ms);
  try {
    const isGone = await Promise.race([deletion.then(() => true), waited.promise]);
    if (!isGone) deletion.catch((error) => log.error({ err: error }, 'a deletion failed after its answer'));
    return isGone;
  } finally {
    clearTimeout(timer);
  }
}
