// What a server that asks for no key refuses: every request that is not from this machine's own programs and pages. A
// browser runs pages of strangers on the same machine, and a proxy brings the callers of the world.

import type { FastifyRequest } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';
import { isLoopback } from './loopback.ts';

/** Headers that a proxy adds. */
const proxyHeaders = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'] as const;

/**
 * Throws `host_not_allowed` or `origin_not_allowed`.
 * @param corsOrigins origins that the operator lets in; `*`: all
 */
export function refuseStrangers(request: FastifyRequest, corsOrigins: readonly string[] = []): void {
  const { headers, host, hostname } = request;
  // A web page can make a browser ask this server under a name of the page's own (DNS rebinding).
  if (hostname && !isLoopback(hostname)) throw new LorikeetError('host_not_allowed');
  const proxied = proxyHeaders.find((name) => headers[name] !== undefined);
  if (proxied !== undefined) {
    const message =
      `The request came through a proxy (${proxied}), and without keys everybody behind it would be let in. ` +
      'Make a key with `lorikeet keys create`.';
    throw new LorikeetError('host_not_allowed', { message });
  }
  const { origin } = headers;
  if (origin !== undefined && (corsOrigins.includes('*') || corsOrigins.includes(origin))) return;
  const site = headers['sec-fetch-site'];
  const isForeign = site !== undefined && site !== 'same-origin' && site !== 'none';
  const isOwn = origin === undefined || URL.parse(origin)?.host === host;
  if ((isForeign && !isLinkToOpenPage(request)) || !isOwn) throw new LorikeetError('origin_not_allowed');
}

/** Somebody who follows a link to the documentation or to a probe: nothing is changed, and no page reads the answer. */
const isLinkToOpenPage = ({ method, headers, routeOptions }: FastifyRequest): boolean =>
  method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && routeOptions.config.scope === 'none';
