// Rank pages in device memory: an adapter is sent there once and stays until its pages are needed. A prefill and a
// decode step read the same pages. A pages lie [8, in] for the
// project's own operator, and [in, 8] for others.

import type { ModelShape } from '../../core/base-model.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';
import { type PageMemory, type PageRange, sparePages } from '../adapters/page-memory.ts';
import { type JoinedSizes, joinedSizes, pageRanks, type ResidentLinear } from '../adapters/resident-adapter.ts';
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
  readonly servesPrefills = true;
  readonly #slots: number;
  readonly #form: DevicePagesForm;
  readonly #ready: Promise<void>;
  readonly #pages: ReadonlyMap<JoinedLinear, LinearPages>;

  constructor(runtime: Runtime, sessions: RowSessions, shape: ModelShape, form: DevicePagesForm) {
    const { slots, real, ready, transposed } = form;
    this.#form = form;
    const rows = slots + sparePages;
    this.#slots = rows;
    this.#ready = ready;
    this.#pages = new Map(
      joinedSizes(shape).map((sizes) => {
        const pools = { pools: sizes.layers, rows, real };
        const a = () => new DeviceRows(runtime, sessions, { ...pools, ...this.#ofA(sizes.in), transposed });
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
      a: a[part]!.view(layer, 0, [this.#slots, ...this.#ofA(sizes.in).row]),
      b: b[part]!.view(layer, 0, [this.#slots, pageRanks, sizes.outs[part]!]),
    };
  }

  async fill(linear: JoinedLinear, { first, pages }: PageRange, { parts }: ResidentLinear): Promise<number> {
    const { sizes, a, b } = this.#pages.get(linear)!;
    let bytes = 0;
    await this.#ready;
    for (const [part, resident] of parts.entries()) {
      for (const [rows, matrices, width] of [
        [a[part]!, resident.a, sizes.in],
        [b[part]!, resident.b, sizes.outs[part]!],
      ] as const) {
        const byLayer = layersOf(matrices, sizes.layers, pages * pageRanks * width);
        await rows.write(first, byLayer);
        bytes += byLayer.reduce((sum, { byteLength }) => sum + byteLength, 0);
      }
    }
    return bytes;
  }

  #ofA(inputs: number): { row: readonly [number, number] } {
    return { row: this.#form.transposed ? [inputs, pageRanks] : [pageRanks, inputs] };
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

/** A part's matrices by layer, in whole pages: ranks that it lacks are zeros. */
function layersOf(matrices: Float32Array<ArrayBuffer>, layers: number, elements: number): Float32Array[] {
  const own = matrices.length / layers;
  return Array.from({ length: layers }, (_, layer) => {
    const matrix = matrices.subarray(layer * own, (layer + 1) * own);
    if (own === elements) return matrix;
    const padded = new Float32Array(elements);
    padded.set(matrix);
    return padded;
  });
}
