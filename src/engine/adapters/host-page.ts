// A page on the processor: 8 ranks, with values in the order in which native/kernels/grouped_lora.c reads them.
//
//   16 bits  half floats [width / block, 8, block]
//    8 bits  half floats [8], scales, and spare ones; codes of a byte [width / block, 8, block]
//
// A page's ranks end before the first one whose first value in A, or whose scale, is no number.

import { type AdapterBits, pageElements, pageHeader, pageRanks, rankElements } from '../../core/page-sizes.ts';

/** Form of the pages in a pool [slots, pageElements(width, block, bits)]. */
export type PageForm = { readonly width: number; readonly block: number; readonly bits: AdapterBits };

/** Writes `ranks` ranks, from rows that lie one behind another, into a page from its first rank on; returns bytes. */
export function writeRanks(
  pool: Uint16Array,
  page: number,
  rows: Uint16Array,
  ranks: number,
  { width, block, bits }: PageForm,
): number {
  const start = page * pageElements(width, block, bits);
  const stride = rankElements(width, bits);
  for (let rank = 0; rank < ranks; rank++) {
    const row = rows.subarray(rank * stride, (rank + 1) * stride);
    if (bits === 16) scatter(row, pool, start + rank * block, width, block);
    else {
      pool[start + rank] = row[0]!;
      scatter(bytesOf(row.subarray(1)), bytesOf(pool), 2 * (start + pageHeader) + rank * block, width, block);
    }
  }
  return Uint16Array.BYTES_PER_ELEMENT * ranks * stride;
}

/** Marks a page of A as having `ranks` ranks. */
export function endRanks(pool: Uint16Array, page: number, ranks: number, { width, block, bits }: PageForm): void {
  if (ranks === pageRanks) return;
  pool[page * pageElements(width, block, bits) + ranks * (bits === 16 ? block : 1)] = notANumber;
}

const notANumber = 0x7fff;

/** Copies a rank's blocks to their places among those of its page. */
function scatter<Values extends Uint16Array | Uint8Array>(
  from: Values,
  to: Values,
  first: number,
  width: number,
  block: number,
): void {
  for (let at = 0; at < width; at += block) {
    to.set(from.subarray(at, Math.min(at + block, width)), first + at * pageRanks);
  }
}

const bytesOf = (values: Uint16Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
