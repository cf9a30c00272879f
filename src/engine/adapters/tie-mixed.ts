// Ties ranges of the page pool, and who reads which page, to a run of the form `mixed`. The ranges are tied once; a
// step only writes which rows read what.

import { adapterNames, type JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import type { HostPages } from './host-pages.ts';
import type { PageReaders } from './page-readers.ts';
import { type JoinedSizes, pageRanks } from './resident-adapter.ts';
import type { RowGains } from './row-gains.ts';

export type MixedInputs = {
  /** `readers` must have the ranges that were tied. */
  set(readers: ReadonlyMap<JoinedLinear, PageReaders>): void;
  readonly tensors: readonly Tensor[];
};

export type MixedSource = {
  readonly sizes: readonly JoinedSizes[];
  readonly pages: HostPages;
  /** null in a graph without. */
  readonly gains: RowGains | null;
};

export function tieMixed(
  runtime: Runtime,
  binding: Binding,
  { sizes: allSizes, pages: memory, gains }: MixedSource,
  rows: number,
  readers: ReadonlyMap<JoinedLinear, PageReaders>,
): MixedInputs {
  const tensors: Tensor[] = [];
  const tie = (name: string, data: Float32Array<ArrayBuffer> | BigInt64Array, shape: readonly number[]) => {
    const tensor = runtime.tensor(data, shape);
    binding.input(name, tensor);
    tensors.push(tensor);
  };
  type Arrays = { rows: BigInt64Array; own: BigInt64Array; shares: Float32Array<ArrayBuffer> };
  const written = new Map<JoinedLinear, Arrays>();
  for (const { linear, layers, modules, in: inputs, outs, out } of allSizes) {
    const range = readers.get(linear);
    if (!range) continue;
    const { pages, served } = range;
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        const place = { linear, part, layer, range };
        tie(adapterNames.a(layer, module), memory.a(place), [pages, 1, pageRanks, inputs]);
        tie(adapterNames.b(layer, module), memory.b(place), [pages, 1, pageRanks, outs[part]!]);
      }
      if (gains !== null) tie(adapterNames.gain(layer, linear), gains.of(linear, layer, rows), [rows, out]);
    }
    const places = pages * served;
    const { length } = range.own;
    const arrays = {
      rows: new BigInt64Array(places),
      own: new BigInt64Array(length),
      shares: new Float32Array(rows * length),
    };
    tie(adapterNames.rows(linear), arrays.rows, [pages, served, 1]);
    tie(adapterNames.own(linear), arrays.own, [length]);
    tie(adapterNames.shares(linear), arrays.shares, [rows, length]);
    written.set(linear, arrays);
  }
  return {
    tensors,
    set(readers) {
      for (const [linear, arrays] of written) {
        const { rows, own, shares } = readers.get(linear)!;
        for (const [i, row] of rows.entries()) arrays.rows[i] = BigInt(row);
        for (const [i, product] of own.entries()) arrays.own[i] = BigInt(product);
        arrays.shares.set(shares);
      }
    },
  };
}
