// Rank pages in JavaScript's memory, which is reserved at once and touched as it fills. Ranks that an adapter lacks in
// a page are neither written nor read, so a part or a layer that it leaves alone costs one value for each page.

import type { ModelShape } from '../../core/base-model.ts';
import { type AdapterBits, pageBlocks, pageElements, pageRanks, rankElements } from '../../core/page-sizes.ts';
import { bitsOf } from '../../formats/half.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';
import type { Breath } from './breath.ts';
import { endRanks, type PageForm, writeRanks } from './host-page.ts';
import type { PageMemory, PageRange } from './page-memory.ts';
import { type JoinedSizes, joinedSizes, type ResidentLinear } from './resident-adapter.ts';

/** Pages of one part in one layer, elements of 16 bits: as the tensor that graphs take, and as numbers to copy. */
type Pool = { readonly tensor: Tensor; readonly bits: Uint16Array; readonly bytes: number };

type LinearPages = {
  readonly sizes: JoinedSizes;
  /** Pools by part, then by layer: [slots, elements of a page]. */
  readonly a: readonly (readonly Pool[])[];
  readonly b: readonly (readonly Pool[])[];
};

export class HostPages implements PageMemory {
  readonly bytes: number;
  /** Bits of an adapter's values. */
  readonly bits: AdapterBits;
  readonly #breath: Breath;
  readonly #pages: ReadonlyMap<JoinedLinear, LinearPages>;

  constructor(
    runtime: Runtime,
    shape: ModelShape,
    { slots, bits, breath }: { readonly slots: number; readonly bits: AdapterBits; readonly breath: Breath },
  ) {
    this.bits = bits;
    this.#breath = breath;
    const pool = (width: number, block: number): Pool => {
      const elements = pageElements(width, block, bits);
      const values = new Float16Array(slots * elements);
      const tensor = runtime.tensor(values, [slots, elements]);
      return { tensor, bits: bitsOf(values), bytes: values.byteLength };
    };
    this.#pages = new Map(
      joinedSizes(shape).map((sizes) => {
        const pools = (width: number, block: number) => Array.from({ length: sizes.layers }, () => pool(width, block));
        const a = sizes.outs.map(() => pools(sizes.in, pageBlocks.a));
        return [sizes.linear, { sizes, a, b: sizes.outs.map((out) => pools(out, pageBlocks.b)) }];
      }),
    );
    this.bytes = this.#all.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The pools of a part in one layer, whole. */
  of(linear: JoinedLinear, part: number, layer: number): { readonly a: Tensor; readonly b: Tensor } {
    const { a, b } = this.#pages.get(linear)!;
    return { a: a[part]![layer]!.tensor, b: b[part]![layer]!.tensor };
  }

  /** Works in pieces between which the event loop has its turn. */
  async fill(linear: JoinedLinear, range: PageRange, { parts }: ResidentLinear): Promise<number> {
    const { sizes, a, b } = this.#pages.get(linear)!;
    let bytes = 0;
    for (let layer = 0; layer < sizes.layers; layer++) {
      for (const [part, { ranks, bits, a: ofA, b: ofB }] of parts.entries()) {
        if (bits !== this.bits) throw new Error(`an adapter of ${bits} bits, and pages of ${this.bits}`);
        const forms = {
          a: { width: sizes.in, block: pageBlocks.a, bits },
          b: { width: sizes.outs[part]!, block: pageBlocks.b, bits },
        };
        const rows = (matrices: Float16Array<ArrayBuffer>, { width }: PageForm) => {
          const length = ranks * rankElements(width, bits);
          return bitsOf(matrices).subarray(layer * length, (layer + 1) * length);
        };
        const source = { a: rows(ofA, forms.a), b: rows(ofB, forms.b) };
        const pools = { a: a[part]![layer]!.bits, b: b[part]![layer]!.bits };
        for (let page = 0; page < range.pages; page++) {
          const [first, end] = [page * pageRanks, Math.min((page + 1) * pageRanks, ranks)];
          bytes += fillPage(pools, range.first + page, source, { first, end }, forms);
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

type Bits = { readonly a: Uint16Array; readonly b: Uint16Array };
type Forms = { readonly a: PageForm; readonly b: PageForm };

/** Copies ranks [first, end) to a slot, without those at the end that add nothing; returns bytes. */
function fillPage(
  pools: Bits,
  slot: number,
  source: Bits,
  { first, end }: { readonly first: number; readonly end: number },
  forms: Forms,
): number {
  const rowsOf = (side: 'a' | 'b', from: number, to: number) => {
    const stride = rankElements(forms[side].width, forms[side].bits);
    return source[side].subarray(from * stride, to * stride);
  };
  let last = end;
  while (last > first && isZero(rowsOf('b', last - 1, last))) last--;
  const ranks = Math.max(0, last - first);
  endRanks(pools.a, slot, ranks, forms.a);
  return (
    writeRanks(pools.a, slot, rowsOf('a', first, last), ranks, forms.a) +
    writeRanks(pools.b, slot, rowsOf('b', first, last), ranks, forms.b)
  );
}

const isZero = (bits: Uint16Array) => bits.every((value) => value === 0);
