// Bodies in crumbs: of a chunked body each chunk is a call of its own, whatever it brings, so that megabytes of single
// bytes hold up everybody for minutes. Who sends such is cut off, whether its request is answered, refused or waits.

import type { IncomingMessage } from 'node:http';
import type { Limits } from '../../core/limits.ts';

/** @param onCutOff called once, before the connection is closed */
export function watchChunks(
  message: IncomingMessage,
  { chunksMin, chunkBytes }: Pick<Limits, 'chunksMin' | 'chunkBytes'>,
  onCutOff: () => void,
): void {
  if (message.headers['transfer-encoding'] === undefined) return;
  const push = message.push.bind(message);
  let [chunks, bytes, isOver] = [0, 0, false];
  // Here the parser brings what it has, before any stream joins small pieces.
  message.push = (chunk: Buffer | null) => {
    if (isOver) return false;
    if (chunk === null) return push(chunk);
    bytes += chunk.length;
    if (++chunks < chunksMin || bytes >= chunks * chunkBytes) return push(chunk);
    isOver = true;
    onCutOff();
    message.socket.destroy();
    message.destroy();
    return false;
  };
}
