// Cuts off chunked bodies of tiny chunks. Each chunk costs a call, whatever its size, so megabytes of single bytes
// would block the server for minutes. This holds whether the request is answered, refused or waiting.

import type { IncomingMessage } from 'node:http';
import type { Limits } from '../../core/limits.ts';

/**
 * Watches a request's body.
 * @param onCutOff called once, before the connection is closed
 */
export function watchChunks(
  message: IncomingMessage,
  { chunksMin, chunkBytes }: Pick<Limits, 'chunksMin' | 'chunkBytes'>,
  onCutOff: () => void,
): void {
  if (message.headers['transfer-encoding'] === undefined) return;
  const push = message.push.bind(message);
  let [chunks, bytes, isOver] = [0, 0, false];
  // The parser calls `push` for each chunk, before a stream joins small ones.
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
