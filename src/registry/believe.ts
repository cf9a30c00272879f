// Whether what memory has of names may be believed: other servers wait for this one with their changes while it has a
// lease, and no longer.

import { LorikeetError } from '../core/errors.ts';
import { missing, type Named } from './named.ts';
import type { Parts } from './parts.ts';
import type { Reference } from './reference.ts';

export type Believe = {
  /** At once, where others wait for this server. Throws `storage_unavailable` where memory is too old. */
  name<T>(text: string, work: () => T | Promise<T>): T | Promise<T>;
  /** The same of all that goes by a name. Throws `adapter_not_found`. */
  named<T>(tenant: string, name: string, work: (named: Named) => T): Promise<T>;
  /** A version never changes: what memory has of it is true, and what it does not have is looked for once more. */
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
