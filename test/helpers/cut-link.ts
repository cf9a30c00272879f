// A way to a server on this machine that can be cut: then nothing passes, and nobody is told.

import { connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export type CutLink = { readonly port: number; cut: boolean };

export async function cutLink(t: TestContext, to: number): Promise<CutLink> {
  const state = { port: 0, cut: false };
  const sockets = new Set<Socket>();
  const pass = (from: Socket, into: Socket) => {
    from.on('data', (bytes) => {
      if (!state.cut) into.write(bytes);
    });
    from.on('error', () => {}).on('close', () => into.destroy());
    sockets.add(from);
  };
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    pass(near, far);
    pass(far, near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  state.port = (server.address() as { port: number }).port;
  return state;
}

/** The same URL by another port. */
export function throughPort(url: string, port: number): string {
  const through = new URL(url);
  through.port = String(port);
  return through.href;
}
