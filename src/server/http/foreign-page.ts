// Requests that a server without keys refuses: all but those of this machine's own programs and pages. A browser on
// this machine also runs pages of strangers, and a proxy forwards requests of anyone.

import type { FastifyRequest } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';
import { isLoopback } from './loopback.ts';

/** Headers that a proxy adds. */
const proxyHeaders = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'] as const;

/**
 * Throws `host_not_allowed` or `origin_not_allowed` for a request that may come from elsewhere.
 * @param corsOrigins origins that the operator allows; `*` allows all
 */
export function refuseStrangers(request: FastifyRequest, corsOrigins: readonly string[] = []): void {
  const { headers, host, hostname } = request;
  // A web page can make a browser send requests here under the page's own host name (DNS rebinding).
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

/** Whether a link to the documentation or a probe was followed: nothing changes, and no page can read the answer. */
const isLinkToOpenPage = ({ method, headers, routeOptions }: FastifyRequest): boolean =>
  method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && routeOptions.config.scope === 'none';
