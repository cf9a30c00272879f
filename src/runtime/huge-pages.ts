// Weights on pages of 2 MiB instead of 4 KiB, on Linux: a step reads all of them, and looks up one address for 512.
// What a step reads in between, a processor's prefetcher goes on with, which stops at a page's end.

import { handleOf } from './handles.ts';
import { libcFunction } from './libc.ts';
import type { OrtApi, Pointer } from './ort-api.ts';
import type { Tensor } from './session.ts';
import { dataOf } from './tensors.ts';

/** The processor's: x64's, and arm64's with pages of 4 KiB. */
const pageBytes = 2 ** 21;

/** In sys/mman.h. Linux before 6.1 does not know the second, and gathers pages by and by after the first. */
const advice = { hugePage: 14, collapse: 25 } as const;

const madvise = libcFunction<[address: Pointer, bytes: number, advice: number]>(
  'int madvise(uintptr_t address, size_t bytes, int advice)',
);
const done = new WeakSet<ArrayBufferLike>();

/**
 * Moves the blocks of memory in which weights lie to huge pages: once, off the event loop, half a millisecond a MiB.
 * They may be read meanwhile. Elsewhere, and where the system has none or is told to give none, nothing changes.
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
