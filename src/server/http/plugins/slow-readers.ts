// Cuts off readers that do not read: their answers hold a socket, unread data, and often files or a process. A timer
// checks all open answers every few seconds, whatever their route.

import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Services } from '../../services.ts';

type Answer = {
  readonly request: FastifyRequest;
  /**
   * Bytes that the system had taken when the current period began, and that time; null while nothing waits to be read.
   */
  mark: { readonly bytes: number; readonly at: number } | null;
};

export function addSlowReaders(app: FastifyInstance, { limits, clock }: Services): void {
  const { readPeriodMs, readPeriodBytes } = limits;
  const answers = new Map<ServerResponse, Answer>();
  const look = () => {
    const now = clock.monotonic();
    for (const [{ socket }, answer] of answers) {
      if (socket === null || socket.writableLength === 0) {
        answer.mark = null;
        continue;
      }
      const bytes = socket.bytesWritten - socket.writableLength;
      answer.mark ??= { bytes, at: now };
      if (now - answer.mark.at < readPeriodMs) continue;
      if (bytes - answer.mark.bytes >= readPeriodBytes) {
        answer.mark = { bytes, at: now };
        continue;
      }
      answer.request.log.warn('the reader of an answer is too slow and was cut off');
      socket.destroy();
    }
  };
  const timer = setInterval(look, Math.max(1, readPeriodMs / 4)).unref();
  app.addHook('onClose', async () => clearInterval(timer));
  app.addHook('onRequest', async (request, { raw }) => {
    answers.set(raw, { request, mark: null });
    raw.once('close', () => answers.delete(raw));
  });
}
