// Bounds connections, in all and from one address, and the requests of one key that are answered at once.

import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { LorikeetError } from '../../../core/errors.ts';
import type { Services } from '../../services.ts';
import { connectionsFor } from '../descriptors.ts';
import { networkOf } from '../network.ts';
import { onClose } from '../on-close.ts';

export function addConnections(app: FastifyInstance, { limits }: Services): void {
  const { server } = app;
  server.maxConnections = connectionsFor(limits.connections);
  const byAddress = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = networkOf(socket.remoteAddress ?? '');
    const count = (byAddress.get(address) ?? 0) + 1;
    if (count > limits.connectionsOfAddress) {
      socket.destroy();
      return;
    }
    byAddress.set(address, count);
    socket.once('close', () => {
      const left = byAddress.get(address)! - 1;
      if (left === 0) byAddress.delete(address);
      else byAddress.set(address, left);
    });
  });

  /** Number of requests that are being answered, by key. */
  const open = new Map<string, number>();
  app.addHook('onRequest', async (request, reply) => {
    const { scope } = request.routeOptions.config;
    if (scope === 'none' || request.is404) return;
    const key = request.keyPrefix ?? 'anonymous';
    const count = (open.get(key) ?? 0) + 1;
    if (count > limits.requestsOfKey) throw new LorikeetError('too_many_requests');
    open.set(key, count);
    // The caller may have left while its key was looked up.
    onClose(reply.raw, () => {
      const left = open.get(key)! - 1;
      if (left === 0) open.delete(key);
      else open.set(key, left);
    });
  });
}

/** Destroys a socket after `ms`: the descriptor of one whose other side never closes would never be free again. */
export function endSoon(socket: Socket, ms: number): void {
  const timer = setTimeout(() => socket.destroy(), ms).unref();
  socket.once('close', () => clearTimeout(timer));
}
