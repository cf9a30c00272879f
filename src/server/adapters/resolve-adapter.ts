// Loads an adapter from the operator's folder when it is first asked for, as vLLM's resolver does.

import { LorikeetError } from '../../core/errors.ts';
import type { Services } from '../services.ts';
import { openAdapterFolder, stageFolder } from './adapter-root.ts';

/** Loads under way, by registry, then by tenant and name: concurrent requests for one adapter load it once. */
const underWay = new WeakMap<object, Map<string, Promise<boolean>>>();

/**
 * Loads the adapter of the folder `name`. Only plain names are loaded, and no reference to a version or an alias.
 * @returns whether `name` is now a version of the tenant's. Throws `adapter_...` for a folder that cannot be served.
 */
export function resolveAdapter(services: Services, tenant: string, name: string): Promise<boolean> {
  const { adapterRoot, adapterResolver, registry } = services;
  if (!adapterResolver || adapterRoot === null || !/^[\w./-]+$/.test(name)) return Promise.resolve(false);
  const loads = underWay.get(registry) ?? new Map<string, Promise<boolean>>();
  underWay.set(registry, loads);
  const key = `${tenant} ${name}`;
  const load = loads.get(key) ?? loadFolder(services, adapterRoot, tenant, name).finally(() => loads.delete(key));
  loads.set(key, load);
  return load;
}

async function loadFolder({ registry }: Services, root: string, tenant: string, name: string): Promise<boolean> {
  try {
    await using folder = await openAdapterFolder(root, name);
    const staged = await registry.stage(tenant);
    try {
      await stageFolder(staged, folder);
      await staged.publish(name, { tenant, createdBy: null, source: 'load' });
      return true;
    } finally {
      await staged.discard();
    }
  } catch (error) {
    if (error instanceof LorikeetError && error.code === 'adapter_not_found') return false;
    throw error;
  }
}
