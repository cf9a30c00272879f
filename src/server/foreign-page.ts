// Forms from web pages: any page may make a browser send a form here without asking first, and where no key is needed
// it would be taken.

import type { FastifyRequest } from 'fastify';
import { LorikeetError } from '../core/errors.ts';

/** Throws `unsupported_media_type` where the page is another server's and the caller showed no key. */
export function refuseForeignPage({ headers: { origin }, host, keyPrefix }: FastifyRequest): void {
  if (origin === undefined || keyPrefix !== null || URL.parse(origin)?.host === host) return;
  const message = 'Without keys this server takes no forms from web pages of others.';
  throw new LorikeetError('unsupported_media_type', { message });
}
