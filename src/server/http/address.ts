// Addresses to listen on, and what a caller on this machine types to reach them.

import { createServer } from 'node:net';

/** Asked before the slow parts of a start. null, or the system's code: EADDRINUSE, EACCES, EADDRNOTAVAIL. */
export function portProblem(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port }, () => server.close(() => resolve(null)));
  });
}

/** `http://host:port`, with loopback for the addresses that mean every interface. */
export function urlOf(host: string, port: number): string {
  const reachable = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
