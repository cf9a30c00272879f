// Checks keys that may use some adapters only. For them other adapters do not exist, as another tenant's do not.

import { LorikeetError } from '../../core/errors.ts';

/** @param allowed names, or prefixes that end in `*`; null allows all */
export const isAllowed = (allowed: readonly string[] | null, name: string): boolean =>
  allowed === null || allowed.some((one) => (one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : one === name));

/**
 * Throws `adapter_not_found` with the registry's own message.
 * @param reference `name`, `name@version` or `name:alias`
 */
export function assertAllowed(allowed: readonly string[] | null, reference: string): void {
  if (isAllowed(allowed, reference.split(/[@:]/, 1)[0]!)) return;
  const message = `The adapter '${reference.slice(0, 200)}' does not exist.`;
  throw new LorikeetError('adapter_not_found', { message });
}
