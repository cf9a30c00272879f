// Whether an address can be listened on, asked before the slow parts of a start.

import { createServer } from 'node:net';

/** null, or the system's code: EADDRINUSE, EACCES, EADDRNOTAVAIL. */
export function portProblem(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port }, () => server.close(() => resolve(null)));
  });
}
