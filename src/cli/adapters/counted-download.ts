// A transform that counts the bytes of a download and shows them in a progress bar.

import { Transform, type Writable } from 'node:stream';
import { systemClock } from '../../core/clock.ts';
import { progressBar } from '../progress-bar.ts';

export function countedDownload(out: Writable, item: string, totalBytes: number | null) {
  const bar = progressBar(out, systemClock);
  let receivedBytes = 0;
  const counted = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      receivedBytes = Math.min(receivedBytes + chunk.length, totalBytes ?? Number.POSITIVE_INFINITY);
      bar.show({ phase: 'download', item, receivedBytes, totalBytes });
      done(null, chunk);
    },
  });
  return { counted, clear: () => bar.clear() };
}
