// Watches uploads, which may take long while bytes arrive, unlike other requests. A sender who is too slow is refused,
// and one who goes on sending after a refusal is cut off. Knows sockets, and no adapters.

import { PassThrough, type Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';
import type { Services } from '../services.ts';

export type UploadWatch = {
  /** Rejects with `request_timeout` when the sender is too slow. */
  readonly tooSlow: Promise<never>;
  /** Makes `stream` the one that fails when the sender is too slow. */
  reads<T extends Readable>(stream: T): T;
};

/** Begins the watch. Throws where the sender left while its key was looked up. */
export function watchUpload(services: Services, request: FastifyRequest, reply: FastifyReply): UploadWatch {
  const { uploadPeriodMs, uploadPeriodBytes, uploadRefusedMs, uploadMsMax } = services.limits;
  const { raw } = request;
  const { socket } = raw;
  if (reply.raw.destroyed) throw brokeOff();
  const slow = Promise.withResolvers<never>();
  slow.promise.catch(() => {});
  let current: Readable | null = null;
  let before = socket.bytesRead;
  const timer = setInterval(() => {
    const received = socket.bytesRead - before;
    before = socket.bytesRead;
    // Bytes that wait in this process wait for the disk, and not for the sender.
    if (received >= uploadPeriodBytes || raw.complete || raw.readableLength > 0) return;
    const message = `The upload brought ${received} bytes in ${uploadPeriodMs / 1000} s and was given up.`;
    const error = new LorikeetError('request_timeout', { message });
    slow.reject(error);
    current?.destroy(error);
  }, uploadPeriodMs);

  const deadline = setTimeout(() => {
    const message = `The upload took longer than ${uploadMsMax / 60_000} minutes and was given up.`;
    const error = new LorikeetError('request_timeout', { message });
    slow.reject(error);
    current?.destroy(error);
  }, uploadMsMax).unref();

  services.uploads.add(socket);
  reply.raw.once('finish', () => {
    if (raw.readableEnded) return;
    raw.resume();
    setTimeout(() => raw.readableEnded || raw.destroy(), uploadRefusedMs).unref();
  });
  reply.raw.once('close', () => {
    clearInterval(timer);
    clearTimeout(deadline);
    services.uploads.delete(socket);
  });
  return {
    tooSlow: slow.promise,
    reads(stream) {
      // The stream may fail while nobody reads it; whoever waits is told by `tooSlow`.
      stream.on('error', () => {});
      current = stream;
      return stream;
    },
  };
}

/** A request's body as a stream that can fail without closing the connection, so that an answer can still be sent. */
export function detachedBody(raw: Readable): Readable {
  const body = new PassThrough();
  raw.pipe(body);
  raw.once('close', () => {
    if (!raw.readableEnded) body.destroy(brokeOff());
  });
  return body;
}

const brokeOff = () => new LorikeetError('malformed_request', { message: 'The upload broke off.' });
