// Rank pages in memory that JavaScript has, which is reserved whole and touched as it fills.

import type { ModelShape } from '../../core/base-model.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Breath } from './breath.ts';
import { type PageMemory, type PageRange, sparePages } from './page-memory.ts';
import { type JoinedSizes, joinedSizes, pageRanks, type ResidentLinear } from './resident-adapter.ts';

type LinearPages = {
  readonly sizes: JoinedSizes;
  /** By part, [layers][slots, 8, in] and [layers][slots, 8, out]. */
  readonly a: readonly Float32Array<ArrayBuffer>[];
  readonly b: readonly Float32Array<ArrayBuffer>[];
};

export type PagePlace = {
  readonly linear: JoinedLinear;
  readonly part: number;
  readonly layer: number;
  readonly range: PageRange;
};

export class HostPages implements PageMemory {
  readonly bytes: number;
  readonly servesPrefills = false;
  readonly #breath: Breath;
  readonly #slots: number;
  readonly #pages: ReadonlyMap<JoinedLinear, LinearPages>;

  constructor(shape: ModelShape, slots: number, breath: Breath) {
    this.#breath = breath;
    this.#slots = slots + sparePages;
    this.#pages = new Map(
      joinedSizes(shape).map((sizes) => {
        const floats = (width: number) => new Float32Array(sizes.layers * this.#slots * pageRanks * width);
        const pages = { sizes, a: sizes.outs.map(() => floats(sizes.in)), b: sizes.outs.map(floats) };
        return [sizes.linear, pages];
      }),
    );
    const all = [...this.#pages.values()].flatMap(({ a, b }) => [...a, ...b]);
    this.bytes = all.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Pages [first, first + pages) of a layer's part. */
  a({ linear, part, layer, range }: PagePlace): Float32Array<ArrayBuffer> {
    const { a, sizes } = this.#pages.get(linear)!;
    return this.#view(a[part]!, layer, sizes.in, range);
  }

  b({ linear, part, layer, range }: PagePlace): Float32Array<ArrayBuffer> {
    const { b, sizes } = this.#pages.get(linear)!;
    return this.#view(b[part]!, layer, sizes.outs[part]!, range);
  }

  /** In pieces between which the event loop takes its turn. */
  async fill(linear: JoinedLinear, range: PageRange, { parts }: ResidentLinear): Promise<number> {
    const { layers, in: inputs, outs } = this.#pages.get(linear)!.sizes;
    let bytes = 0;
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, { ranks, a, b }] of parts.entries()) {
        const place = { linear, part, layer, range };
        const out = outs[part]!;
        bytes += overwrite(this.a(place), a.subarray(layer * ranks * inputs, (layer + 1) * ranks * inputs));
        bytes += overwrite(this.b(place), b.subarray(layer * ranks * out, (layer + 1) * ranks * out));
      }
      await this.#breath.take();
    }
    return bytes;
  }

  release(): void {}

  #view(pool: Float32Array<ArrayBuffer>, layer: number, width: number, { first, pages }: PageRange) {
    const page = pageRanks * width;
    const start = (layer * this.#slots + first) * page;
    return pool.subarray(start, start + pages * page);
  }
}

/** Ranks that a part lacks are zeros: the pages may have held another adapter. */
function overwrite(pages: Float32Array, matrix: Float32Array): number {
  pages.set(matrix);
  pages.fill(0, matrix.length);
  return pages.byteLength;
}
