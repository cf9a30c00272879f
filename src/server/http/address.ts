// Checks an address to listen on, and gives the URL at which a caller on this machine reaches it.

import { createServer } from 'node:net';

/** Tries to listen, before the slow parts of a start. null, or the system's code: EADDRINUSE, EACCES, EADDRNOTAVAIL. */
export function portProblem(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port }, () => server.close(() => resolve(null)));
  });
}

/** `http://host:port`, where an address that means all interfaces becomes loopback. */
export function urlOf(host: string, port: number): string {
  const reachable = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
