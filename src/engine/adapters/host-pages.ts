// Rank pages in memory that JavaScript has, which is reserved whole and touched as it fills.
//
// Ranks of a page end at the first whose first value in A is no number: what an adapter lacks there is neither written
// nor read, so a part or a layer that it leaves alone costs one value a page.

import type { ModelShape } from '../../core/base-model.ts';
import { pageRanks } from '../../core/page-sizes.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';
import type { Breath } from './breath.ts';
import type { PageMemory, PageRange } from './page-memory.ts';
import { type JoinedSizes, joinedSizes, type ResidentLinear } from './resident-adapter.ts';

/** Of a layer: half floats as what graphs take, and as bits. */
type Pool = { readonly tensor: Tensor; readonly bits: Uint16Array; readonly bytes: number };

type LinearPages = {
  readonly sizes: JoinedSizes;
  /** By part, then by layer, [slots, 8, in] and [slots, 8, out]. */
  readonly a: readonly (readonly Pool[])[];
  readonly b: readonly (readonly Pool[])[];
};

const notANumber = 0x7fff;

export class HostPages implements PageMemory {
  readonly bytes: number;
  readonly #breath: Breath;
  readonly #pages: ReadonlyMap<JoinedLinear, LinearPages>;

  constructor(runtime: Runtime, shape: ModelShape, slots: number, breath: Breath) {
    this.#breath = breath;
    const pool = (width: number): Pool => {
      const values = new Float16Array(slots * pageRanks * width);
      const tensor = runtime.tensor(values, [slots, pageRanks, width]);
      return { tensor, bits: new Uint16Array(values.buffer), bytes: values.byteLength };
    };
    this.#pages = new Map(
      joinedSizes(shape).map((sizes) => {
        const pools = (width: number) => Array.from({ length: sizes.layers }, () => pool(width));
        return [sizes.linear, { sizes, a: sizes.outs.map(() => pools(sizes.in)), b: sizes.outs.map(pools) }];
      }),
    );
    this.bytes = this.#all.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** A part's pools in one layer, whole, [slots, 8, in] and [slots, 8, out]. */
  of(linear: JoinedLinear, part: number, layer: number): { readonly a: Tensor; readonly b: Tensor } {
    const { a, b } = this.#pages.get(linear)!;
    return { a: a[part]![layer]!.tensor, b: b[part]![layer]!.tensor };
  }

  /** In pieces between which the event loop takes its turn. */
  async fill(linear: JoinedLinear, range: PageRange, { parts }: ResidentLinear): Promise<number> {
    const { sizes, a, b } = this.#pages.get(linear)!;
    let bytes = 0;
    for (let layer = 0; layer < sizes.layers; layer++) {
      for (const [part, { ranks, a: ofA, b: ofB }] of parts.entries()) {
        const widths = { in: sizes.in, out: sizes.outs[part]! };
        const source = { a: bitsOf(ofA, layer, ranks * widths.in), b: bitsOf(ofB, layer, ranks * widths.out) };
        const pools = { a: a[part]![layer]!.bits, b: b[part]![layer]!.bits };
        for (let page = 0; page < range.pages; page++) {
          const [first, end] = [page * pageRanks, Math.min((page + 1) * pageRanks, ranks)];
          bytes += fillPage(pools, range.first + page, source, { first, end }, widths);
        }
      }
      await this.#breath.take();
    }
    return bytes;
  }

  release(): void {
    for (const { tensor } of this.#all) tensor.release();
  }

  get #all(): readonly Pool[] {
    return [...this.#pages.values()].flatMap(({ a, b }) => [...a, ...b].flat());
  }
}

const bitsOf = (matrices: Float16Array<ArrayBuffer>, layer: number, length: number) =>
  new Uint16Array(matrices.buffer, layer * length * Uint16Array.BYTES_PER_ELEMENT, length);

type Bits = { readonly a: Uint16Array; readonly b: Uint16Array };

/** Copies ranks [first, end) to a slot, but for those at its end that add nothing; returns bytes. */
function fillPage(
  pools: Bits,
  slot: number,
  source: Bits,
  { first, end }: { readonly first: number; readonly end: number },
  widths: { readonly in: number; readonly out: number },
): number {
  let last = end;
  while (last > first && isZero(source.b.subarray((last - 1) * widths.out, last * widths.out))) last--;
  const ranks = Math.max(0, last - first);
  const at = slot * pageRanks;
  if (ranks > 0) {
    pools.a.set(source.a.subarray(first * widths.in, last * widths.in), at * widths.in);
    pools.b.set(source.b.subarray(first * widths.out, last * widths.out), at * widths.out);
  }
  if (ranks < pageRanks) pools.a[(at + ranks) * widths.in] = notANumber;
  return Uint16Array.BYTES_PER_ELEMENT * ranks * (widths.in + widths.out);
}

const isZero = (bits: Uint16Array) => bits.every((value) => value === 0);
