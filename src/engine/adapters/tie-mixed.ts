// Ties ranges of the page pool, and who reads which page, to a run of the form `mixed`. The ranges are tied once; a
// step only writes which rows read what.

import { adapterNames, type JoinedLinear } from '../../graph/adapted-linear.ts';
import type { GraphTarget } from '../../graph/target.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import type { PageMemory } from './page-memory.ts';
import type { PageReaders } from './page-readers.ts';
import type { JoinedSizes } from './resident-adapter.ts';
import type { RowGains } from './row-gains.ts';

export type MixedInputs = {
  /** `readers` must have the ranges that were tied. */
  set(readers: ReadonlyMap<JoinedLinear, PageReaders>): void;
  readonly tensors: readonly Tensor[];
};

export type MixedSource = {
  readonly sizes: readonly JoinedSizes[];
  readonly memory: PageMemory;
  readonly on: GraphTarget['on'];
  /** null in a graph without. */
  readonly gains: RowGains | null;
};

export function tieMixed(
  runtime: Runtime,
  binding: Binding,
  { sizes: allSizes, memory, on, gains }: MixedSource,
  rows: number,
  readers: ReadonlyMap<JoinedLinear, PageReaders>,
): MixedInputs {
  const tensors: Tensor[] = [];
  const tieTensor = (name: string, tensor: Tensor) => {
    binding.input(name, tensor);
    tensors.push(tensor);
  };
  const tie = (name: string, data: Float32Array<ArrayBuffer> | BigInt64Array, shape: readonly number[]) =>
    tieTensor(name, runtime.tensor(data, shape));
  type Arrays = { rows: BigInt64Array; own: BigInt64Array; shares: Float32Array<ArrayBuffer> };
  const written = new Map<JoinedLinear, Arrays>();
  for (const { linear, layers, modules, out } of allSizes) {
    const range = readers.get(linear);
    if (!range) continue;
    const { pages, served, taken } = range;
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        const { a, b } = memory.tie('mixed', { linear, part, layer, range });
        tieTensor(adapterNames.a(layer, module), a);
        tieTensor(adapterNames.b(layer, module), b);
      }
      if (gains !== null) tie(adapterNames.gain(layer, linear), gains.of(linear, layer, rows), [rows, out]);
    }
    const arrays = {
      rows: new BigInt64Array(pages * served),
      own: new BigInt64Array(rows * taken),
      shares: new Float32Array(on === 'host' ? rows * rows * taken : rows * taken),
    };
    tie(adapterNames.rows(linear), arrays.rows, [pages, served, 1]);
    tie(adapterNames.own(linear), arrays.own, on === 'host' ? [rows * taken] : [rows, taken]);
    tie(adapterNames.shares(linear), arrays.shares, on === 'host' ? [rows, rows * taken] : [rows, 1, taken]);
    written.set(linear, arrays);
  }
  return {
    tensors,
    set(readers) {
      for (const [linear, arrays] of written) {
        const { rows: served, own, taken, scales } = readers.get(linear)!;
        for (const [i, row] of served.entries()) arrays.rows[i] = BigInt(row);
        for (const [i, product] of own.entries()) arrays.own[i] = BigInt(product);
        if (on === 'device') arrays.shares.set(scales);
        // On the host a row's are part of a line over all rows' products, of which the others stay 0.
        else for (const [i, scale] of scales.entries()) arrays.shares[Math.floor(i / taken) * rows * taken + i] = scale;
      }
    },
  };
}
