// Reads ranges of a weight file on demand. Weights are read tensor by tensor when the graph takes them, so that a model
// is never in memory twice; the page cache makes small reads as fast as one large read.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { LorikeetError } from '../core/errors.ts';
import { readAtOnce } from './read-whole.ts';
import { describe, unavailable } from './unavailable.ts';

export type WeightFile = {
  readonly path: string;
  readonly bytes: number;
  /** Reads the bytes from `start` to `end`, or to the end of the file; each call reads again. */
  read(start: number, end: number): Uint8Array;
};

export function weightFile(path: string): WeightFile {
  const bytes = withFile(path, (descriptor) => fstatSync(descriptor).size);
  return {
    path,
    bytes,
    read: (start, end) =>
      withFile(path, (descriptor) => {
        if (fstatSync(descriptor).size !== bytes) {
          throw new LorikeetError('model_file_invalid', { message: `${path} changed while it was being read.` });
        }
        return readRange(descriptor, start, Math.min(end, bytes), path);
      }),
  };
}

function readRange(descriptor: number, start: number, end: number, path: string): Uint8Array {
  const buffer = new Uint8Array(end - start);
  let filled = 0;
  while (filled < buffer.length) {
    const length = Math.min(readAtOnce, buffer.length - filled);
    const got = readSync(descriptor, buffer, filled, length, start + filled);
    if (got === 0) throw new LorikeetError('model_file_invalid', { message: `${path} ends before byte ${end}.` });
    filled += got;
  }
  return buffer;
}

function withFile<T>(path: string, use: (descriptor: number) => T): T {
  const descriptor = openWeights(path);
  try {
    return use(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Opens the file, which may have been removed since the model was found, or may not be readable. */
function openWeights(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    return unavailable(`${path} cannot be read (${describe(error)})`, error);
  }
}
