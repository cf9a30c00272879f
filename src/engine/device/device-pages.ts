// Rank pages in device memory: an adapter is sent there once and stays until its pages are needed. A prefill and a
// decode step read the same pages. A pages lie [8, in] for the project's
// own operator, and [in, 8] for others.

import type { ModelShape } from '../../core/base-model.ts';
import { type JoinedLinear, pageRanks } from '../../graph/adapted-linear.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';
import type { PageMemory, PageRange } from '../adapters/page-memory.ts';
import { type JoinedSizes, joinedSizes, layerOf, type ResidentLinear } from '../adapters/resident-adapter.ts';
import { DeviceRows } from './device-rows.ts';
import type { RowSessions } from './row-sessions.ts';

type LinearPages = {
  readonly sizes: JoinedSizes;
  /** By part; a row is a page, and there is a pool for each layer. */
  readonly a: readonly DeviceRows[];
  readonly b: readonly DeviceRows[];
};

export class DevicePages implements PageMemory {
  readonly bytes: number;
  readonly #slots: number;
  readonly #transposed: boolean;
  readonly #ready: Promise<void>;
  readonly #pages: ReadonlyMap<JoinedLinear, LinearPages>;

  constructor(runtime: Runtime, sessions: RowSessions, shape: ModelShape, form: DevicePagesForm) {
    const { slots: rows, slots, real, ready, transposed } = form;
    this.#transposed = transposed;
    this.#slots = slots;
    this.#ready = ready;
    this.#pages = new Map(
      joinedSizes(shape).map((sizes) => {
        const pools = { pools: sizes.layers, rows, real };
        const a = () => new DeviceRows(runtime, sessions, { ...pools, row: this.#rowOfA(sizes.in), transposed });
        const b = (out: number) => new DeviceRows(runtime, sessions, { ...pools, row: [pageRanks, out] });
        return [sizes.linear, { sizes, a: sizes.outs.map(a), b: sizes.outs.map(b) }];
      }),
    );
    this.bytes = this.pools.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** A part's pool in one layer, whole, as graphs take it: the caller releases it. */
  tie(linear: JoinedLinear, part: number, layer: number): { a: Tensor; b: Tensor } {
    const { sizes, a, b } = this.#pages.get(linear)!;
    return {
      a: a[part]!.view(layer, 0, [this.#slots, ...this.#rowOfA(sizes.in)]),
      b: b[part]!.view(layer, 0, [this.#slots, pageRanks, sizes.outs[part]!]),
    };
  }

  async fill(linear: JoinedLinear, { first, pages }: PageRange, resident: ResidentLinear): Promise<number> {
    const { sizes, a, b } = this.#pages.get(linear)!;
    let bytes = 0;
    await this.#ready;
    for (const part of resident.parts.keys()) {
      const layers = Array.from({ length: sizes.layers }, (_, layer) => layerOf(resident, part, layer, sizes.layers));
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

  #rowOfA(inputs: number): readonly [number, number] {
    return this.#transposed ? [inputs, pageRanks] : [pageRanks, inputs];
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
  /** A lies [in, 8]. */
  readonly transposed: boolean;
  /** Pages may be used. */
  readonly ready: Promise<void>;
};

/** In whole pages: ranks that a part lacks are zeros. */
function padded(matrix: Float32Array, elements: number): Float32Array {
  if (matrix.length === elements) return matrix;
  const whole = new Float32Array(elements);
  whole.set(matrix);
  return whole;
}
