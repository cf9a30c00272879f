// Which addresses and names mean this machine alone.

import { LorikeetError } from '../core/errors.ts';

export const isLoopback = (host: string): boolean =>
  /^(127(\.\d{1,3}){3}|localhost|.+\.localhost|\[?::1\]?)$/i.test(host);

/** Throws `invalid_config`: a server that asks nobody for a key must not be reachable from another machine. */
export function assertSafeHost(host: string, hasKeys: boolean): void {
  if (hasKeys || isLoopback(host)) return;
  throw new LorikeetError('invalid_config', {
    message:
      `Without any key the server listens on loopback only, not on ${host}. ` +
      'Set LORIKEET_ADMIN_KEY or run `lorikeet keys create`, or use LORIKEET_HOST=127.0.0.1.',
  });
}
