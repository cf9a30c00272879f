// Rank pages in device memory: an adapter is sent there once and stays until its pages are needed. Prefills and decode
// steps read the same pages.
//
//   tables of pages   A [8, in], B [8, out]: the half floats of the adapter in memory; its shares are in the tables
//   lists of pages    A [in, 8], B [8, out]: floats of the device, with the shares in B

import type { ModelShape } from '../../core/base-model.ts';
import { pageRanks } from '../../core/page-sizes.ts';
import { bitsOf } from '../../formats/half.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';
import { DeviceRows } from '../kv/device-rows.ts';
import type { RowSessions } from '../kv/row-sessions.ts';
import type { PageMemory, PageRange } from './page-memory.ts';
import { type JoinedSizes, joinedSizes, layerOf, type ResidentLinear } from './resident-adapter.ts';

type LinearPages = {
  readonly sizes: JoinedSizes;
  /** Pages by part; a row is a page, and there is a pool for each layer. */
  readonly a: readonly DeviceRows[];
  readonly b: readonly DeviceRows[];
};

export class DevicePages implements PageMemory {
  readonly bytes: number;
  readonly #slots: number;
  readonly #isListed: boolean;
  readonly #ready: Promise<void>;
  readonly #pages: ReadonlyMap<JoinedLinear, LinearPages>;

  constructor(runtime: Runtime, sessions: RowSessions, shape: ModelShape, form: DevicePagesForm) {
    const { slots: rows, slots, real, ready, isListed } = form;
    this.#isListed = isListed;
    this.#slots = slots;
    this.#ready = ready;
    this.#pages = new Map(
      joinedSizes(shape).map((sizes) => {
        const pools = { pools: sizes.layers, rows, real };
        const a = () =>
          new DeviceRows(runtime, sessions, { ...pools, row: this.#rowOfA(sizes.in), transposed: isListed });
        const b = (out: number) => new DeviceRows(runtime, sessions, { ...pools, row: [pageRanks, out] });
        return [sizes.linear, { sizes, a: sizes.outs.map(a), b: sizes.outs.map(b) }];
      }),
    );
    this.bytes = this.pools.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The whole pool of a part in one layer, as graphs take it; the caller releases the tensors. */
  tie(linear: JoinedLinear, part: number, layer: number): { a: Tensor; b: Tensor } {
    const { sizes, a, b } = this.#pages.get(linear)!;
    return {
      a: a[part]!.view(layer, 0, [this.#slots, ...this.#rowOfA(sizes.in)]),
      b: b[part]!.view(layer, 0, [this.#slots, pageRanks, sizes.outs[part]!]),
    };
  }

  async fill(linear: JoinedLinear, range: PageRange, resident: ResidentLinear): Promise<number> {
    await this.#ready;
    const pages = this.#pages.get(linear)!;
    return this.#isListed ? fillFloats(pages, range, resident) : fillHalves(pages, range, resident);
  }

  #rowOfA(inputs: number): readonly [number, number] {
    return this.#isListed ? [inputs, pageRanks] : [pageRanks, inputs];
  }

  release(): void {
    for (const rows of this.pools) rows.release();
  }

  get pools(): readonly DeviceRows[] {
    return [...this.#pages.values()].flatMap(({ a, b }) => [...a, ...b]);
  }
}

export type DevicePagesForm = {
  readonly slots: number;
  readonly real: Real;
  /** Whether graphs read lists of pages instead of tables. */
  readonly isListed: boolean;
  /** Resolves when the pages can be used. */
  readonly ready: Promise<void>;
};

async function fillHalves(
  { sizes, a, b }: LinearPages,
  { first, pages }: PageRange,
  { parts }: ResidentLinear,
): Promise<number> {
  let bytes = 0;
  for (const [part, { ranks, a: ofA, b: ofB }] of parts.entries()) {
    for (const [rows, matrices, width] of [
      [a[part]!, ofA, sizes.in],
      [b[part]!, ofB, sizes.outs[part]!],
    ] as const) {
      const whole = inPages(matrices, sizes.layers, ranks * width, pages * pageRanks * width);
      await rows.send(first, whole);
      bytes += whole.byteLength;
    }
  }
  return bytes;
}

async function fillFloats(
  { sizes, a, b }: LinearPages,
  { first, pages }: PageRange,
  resident: ResidentLinear,
): Promise<number> {
  let bytes = 0;
  for (const part of resident.parts.keys()) {
    const layers = Array.from({ length: sizes.layers }, (_, layer) => layerOf(resident, part, layer, sizes));
    for (const [rows, matrices, width] of [
      [a[part]!, layers.map(({ a }) => a), sizes.in],
      [b[part]!, layers.map(({ b }) => b), sizes.outs[part]!],
    ] as const) {
      const byLayer = matrices.map((matrix) => padded(matrix, pages * pageRanks * width));
      await rows.write(first, byLayer);
      bytes += byLayer.reduce((sum, { byteLength }) => sum + byteLength, 0);
    }
  }
  return bytes;
}

/** Turns [layers, has] into [layers, needs]: ranks that a part lacks are zeros. */
function inPages(matrices: Float16Array<ArrayBuffer>, layers: number, has: number, needs: number): Float16Array {
  if (has === needs) return matrices;
  const whole = new Float16Array(layers * needs);
  const [source, target] = [bitsOf(matrices), bitsOf(whole)];
  for (let layer = 0; layer < layers; layer++) {
    target.set(source.subarray(layer * has, (layer + 1) * has), layer * needs);
  }
  return whole;
}

/** Pads a layer's matrix to whole pages: ranks that a part lacks are zeros. */
function padded(matrix: Float32Array, elements: number): Float32Array {
  if (matrix.length === elements) return matrix;
  const whole = new Float32Array(elements);
  whole.set(matrix);
  return whole;
}
