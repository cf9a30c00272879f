// Decides at a start whether the server requires keys. Only a server that never had a key and listens on this machine
// alone is open. A server that others can reach gets its first key here, an operator's.

import { LorikeetError } from '../core/errors.ts';
import type { KeyStore } from './keys.ts';
import { defaultTenant } from './scopes.ts';

export type Closing = {
  readonly keys: Pick<KeyStore, 'any' | 'create'>;
  readonly hasAdminKey: boolean;
  /** Whether the server's address cannot be reached from other machines. */
  readonly isLoopback: boolean;
  /** Whether the data dir required keys at an earlier start. */
  readonly wasClosed: boolean;
  /** Shows the operator's key, which is stored nowhere. */
  announce(key: string): void;
};

/** @returns whether the server requires keys. Throws `invalid_config` where it had keys once and has none. */
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
