// Keys that may use some adapters only. Everything else is not there for them, as another tenant's is not.

import { LorikeetError } from '../../core/errors.ts';

/** @param allowed names, or beginnings that end in `*`; null: all */
export const isAllowed = (allowed: readonly string[] | null, name: string): boolean =>
  allowed === null || allowed.some((one) => (one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : one === name));

/** Throws `adapter_not_found`, in the registry's own words. @param reference `name`, `name@version`, `name:alias` */
export function assertAllowed(allowed: readonly string[] | null, reference: string): void {
  if (isAllowed(allowed, reference.split(/[@:]/, 1)[0]!)) return;
  const message = `The adapter '${reference.slice(0, 200)}' does not exist.`;
  throw new LorikeetError('adapter_not_found', { message });
}
