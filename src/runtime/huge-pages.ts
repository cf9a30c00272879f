// Moves weights to pages of 2 MiB instead of 4 KiB, on Linux. A step reads all weights and then looks up one address
// where it would look up 512. The processor's prefetcher, which stops at the end of a page, reads on for longer.

import { handleOf } from './handles.ts';
import { libcFunction } from './libc.ts';
import type { OrtApi, Pointer } from './ort-api.ts';
import type { Tensor } from './session.ts';
import { dataOf } from './tensors.ts';

/** Bytes of a huge page on x64, and on arm64 with base pages of 4 KiB. */
const pageBytes = 2 ** 21;

/**
 * Values in sys/mman.h. Linux before 6.1 does not know `collapse`, and gathers huge pages little by little after
 * `hugePage`.
 */
const advice = { hugePage: 14, collapse: 25 } as const;

const madvise = libcFunction<[address: Pointer, bytes: number, advice: number]>(
  'int madvise(uintptr_t address, size_t bytes, int advice)',
);
const done = new WeakSet<ArrayBufferLike>();

/**
 * Moves the buffers in which weights lie to huge pages: once each, off the event loop, half a millisecond for each MiB.
 * They may be read meanwhile. Changes nothing on other systems, and where the system gives no huge pages.
 */
export async function moveToHugePages(api: OrtApi, weights: Iterable<Tensor>): Promise<void> {
  const advise = madvise();
  if (advise === null) return;
  for (const tensor of weights) {
    const { buffer, byteOffset } = dataOf(tensor)!;
    if (buffer.byteLength < 2 * pageBytes || done.has(buffer)) continue;
    done.add(buffer);
    const start = (api.call('getTensorMutableData', handleOf(tensor)) as Pointer) - BigInt(byteOffset);
    const first = roundUp(start, pageBytes);
    const bytes = Number(((start + BigInt(buffer.byteLength)) / BigInt(pageBytes)) * BigInt(pageBytes) - first);
    if (bytes <= 0) continue;
    for (const what of [advice.hugePage, advice.collapse]) {
      await new Promise<void>((resolve) => advise(first, bytes, what, resolve));
    }
  }
}

const roundUp = (address: Pointer, to: number): Pointer => ((address + BigInt(to) - 1n) / BigInt(to)) * BigInt(to);
