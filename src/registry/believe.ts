// Decides whether names in memory may be used: other servers wait for this one with their changes only while it has a
// lease.

import { LorikeetError } from '../core/errors.ts';
import { missing, type Named } from './named.ts';
import type { Parts } from './parts.ts';
import type { Reference } from './reference.ts';

export type Believe = {
  /**
   * Calls `work` at once while this server has a lease. Without one it asks the database first, and throws
   * `storage_unavailable` where memory is too old.
   */
  name<T>(text: string, work: () => T | Promise<T>): T | Promise<T>;
  /** Calls `work` with all that goes by a name, under the same rule. Throws `adapter_not_found`. */
  named<T>(tenant: string, name: string, work: (named: Named) => T): Promise<T>;
  /**
   * Calls `work` for a version. A version in memory never changes; a missing one is read from the database once more.
   */
  version<T>(reference: Reference, tenant: string, work: () => T | Promise<T>): T | Promise<T>;
};

export function believe({ changes, names }: Pick<Parts, 'changes' | 'names'>): Believe {
  const late = async <T>(text: string, work: () => T | Promise<T>): Promise<T> => {
    await changes.refresh();
    if (!changes.isBelievable) {
      const seconds = Math.round(changes.staleMs / 1000);
      const message =
        `The database has not been heard of for ${seconds} seconds: what '${text}' means now is not known. ` +
        'Ask for a version (name@2), or again later.';
      throw new LorikeetError('storage_unavailable', { message });
    }
    return await work();
  };
  const again = async <T>({ name }: Reference, tenant: string, work: () => T | Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof LorikeetError && error.code === 'adapter_not_found')) throw error;
      await names.renew(tenant, name);
      return await work();
    }
  };
  const now = <T>(text: string, work: () => T | Promise<T>) => (changes.staleMs === 0 ? work() : late(text, work));
  return {
    name: now,
    async named(tenant, name, work) {
      const find = () =>
        names.use(tenant, name, (named) => {
          if (named === undefined) throw missing(name);
          return work(named);
        });
      return await now(name, find);
    },
    version: (reference, tenant, work) => (changes.staleMs === 0 ? work() : again(reference, tenant, work)),
  };
}
