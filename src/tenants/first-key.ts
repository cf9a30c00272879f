// Whether a server asks for keys, decided at its start. Open is only a server that never had a key, for this machine
// alone. One that others can reach gets its first key here, the operator's.

import { LorikeetError } from '../core/errors.ts';
import type { KeyStore } from './keys.ts';
import { defaultTenant } from './scopes.ts';

export type Closing = {
  readonly keys: Pick<KeyStore, 'any' | 'create'>;
  readonly hasAdminKey: boolean;
  /** Other machines cannot reach the address that it listens on. */
  readonly isLoopback: boolean;
  /** The data dir had a key once. */
  readonly wasClosed: boolean;
  /** Shows the operator's key, which is kept nowhere. */
  announce(key: string): void;
};

/** @returns whether it asks for keys. Throws `invalid_config` where it had keys once and has none. */
export async function closeOrStayOpen(closing: Closing): Promise<boolean> {
  const { keys, hasAdminKey, isLoopback, wasClosed, announce } = closing;
  if (hasAdminKey || (await keys.any())) return true;
  if (wasClosed) {
    throw new LorikeetError('invalid_config', {
      message:
        'This data dir was closed by keys and has none now, so the server does not open by itself. Make one with ' +
        '`lorikeet keys create --scopes operator`, or set LORIKEET_ADMIN_KEY.',
    });
  }
  if (isLoopback) return false;
  const created = await keys.create({ tenant: defaultTenant, name: 'first operator', scopes: ['operator'] });
  announce(created.key);
  return true;
}
