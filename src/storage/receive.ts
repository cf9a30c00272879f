// Writes bytes of a sender to disk, and hashes them; no more than one chunk is in memory.

import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Files, OpenFile } from './files.ts';

/** Bytes that are hashed between two turns of the event loop: about a third of a millisecond. */
const chunkBytes = 512 * 1024;

export type Received = { readonly bytes: number; readonly sha256: string };

/** Writes all bytes of `source`. Calls `onTooLong`, which must throw, when they are more than `bytesMax`. */
export async function receive(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array> | Readable,
  file: OpenFile,
  bytesMax: number,
  onTooLong: () => never,
): Promise<Received> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of source as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > bytesMax) onTooLong();
    hash.update(chunk);
    await file.write(chunk);
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Writes all bytes of `source` to a new file at `path`, without a limit. */
export async function receiveAll(source: AsyncIterable<Uint8Array>, files: Files, path: string): Promise<Received> {
  const file = await files.create(path);
  return await receive(source, file, Number.POSITIVE_INFINITY, endless).finally(() => file.close());
}

function endless(): never {
  throw new Error('Bytes without an end.');
}

/** @returns the file's SHA-256 in hex. An abort of `stop` ends it with the signal's reason. */
export async function fileSha256(files: Files, path: string, stop?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const file = await files.open(path);
  try {
    for (let offset = 0; ; offset += chunkBytes) {
      stop?.throwIfAborted();
      const chunk = await file.read(offset, chunkBytes);
      hash.update(chunk);
      if (chunk.length < chunkBytes) return hash.digest('hex');
    }
  } finally {
    await file.close();
  }
}
