// A proxy to a server on this machine. It can be cut: then nothing passes and neither side is told. It can also be
// slow: then only an allowed number of bytes passes.

import { connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export type CutLink = {
  readonly port: number;
  cut: boolean;
  /** Number of bytes that may still come from the server; further ones wait. */
  allowed: number;
};

export async function cutLink(t: TestContext, to: number): Promise<CutLink> {
  const waiting: { readonly into: Socket; bytes: Buffer }[] = [];
  let allowed = Number.POSITIVE_INFINITY;
  const deliver = () => {
    while (allowed > 0 && waiting.length > 0) {
      const { into, bytes } = waiting[0]!;
      into.write(bytes.subarray(0, allowed));
      waiting[0]!.bytes = bytes.subarray(allowed);
      allowed -= Math.min(allowed, bytes.length);
      if (waiting[0]!.bytes.length === 0) waiting.shift();
    }
  };
  const state = {
    ...{ port: 0, cut: false },
    get allowed() {
      return allowed;
    },
    set allowed(bytes) {
      allowed = bytes;
      deliver();
    },
  };
  const sockets = new Set<Socket>();
  /** Sockets of connections that have lost bytes: later bytes on them would mean nothing, and are dropped. */
  const dead = new Set<Socket>();
  const pass = (from: Socket, into: Socket, isBack: boolean) => {
    from.on('data', (bytes) => {
      if (state.cut) dead.add(from).add(into);
      if (dead.has(from)) return;
      if (isBack) {
        waiting.push({ into, bytes });
        deliver();
      } else into.write(bytes);
    });
    from.on('error', () => {}).on('close', () => into.destroy());
    sockets.add(from);
  };
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    pass(near, far, false);
    pass(far, near, true);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  state.port = (server.address() as { port: number }).port;
  return state;
}

/** The same URL with another port. */
export function throughPort(url: string, port: number): string {
  const through = new URL(url);
  through.port = String(port);
  return through.href;
}
