// Ties ranges of the page pool, and who reads which block, to a run of the form `mixed`. The ranges are tied once; a step
// only writes which rows read what.

import { adapterNames, type JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import type { PageBlocks } from './page-blocks.ts';
import type { PagePool } from './page-pool.ts';
import { type JoinedSizes, pageRanks } from './resident-adapter.ts';
import type { RowGains } from './row-gains.ts';

export type MixedInputs = {
  /** `blocks` must have the ranges that were tied. */
  set(blocks: ReadonlyMap<JoinedLinear, PageBlocks>): void;
  readonly tensors: readonly Tensor[];
};

export type MixedSource = {
  readonly sizes: readonly JoinedSizes[];
  readonly pool: PagePool;
  /** null without extras. */
  readonly gains: RowGains | null;
};

export function tieMixed(
  runtime: Runtime,
  binding: Binding,
  { sizes: allSizes, pool, gains }: MixedSource,
  rows: number,
  blocks: ReadonlyMap<JoinedLinear, PageBlocks>,
): MixedInputs {
  const tensors: Tensor[] = [];
  const tie = (name: string, data: Float32Array<ArrayBuffer> | BigInt64Array, shape: readonly number[]) => {
    const tensor = runtime.tensor(data, shape);
    binding.input(name, tensor);
    tensors.push(tensor);
  };
  const readers = new Map<JoinedLinear, { rows: BigInt64Array; shares: Float32Array<ArrayBuffer> }>();
  for (const { linear, layers, modules, in: inputs, outs, out } of allSizes) {
    if (linear === 'head' && gains === null) continue;
    const range = blocks.get(linear)!;
    const count = range.pages / range.width;
    const ranks = range.width * pageRanks;
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        tie(adapterNames.a(layer, module), pool.a(linear, part, layer, range), [count, ranks, inputs]);
        tie(adapterNames.b(layer, module), pool.b(linear, part, layer, range), [count, ranks, outs[part]!]);
      }
      if (gains !== null) tie(adapterNames.gain(layer, linear), gains.of(linear, layer, rows), [rows, out]);
    }
    const places = count * range.served;
    const reader = { rows: new BigInt64Array(places), shares: new Float32Array(rows * places) };
    tie(adapterNames.rows(linear), reader.rows, [count, range.served]);
    tie(adapterNames.shares(linear), reader.shares, [rows, places]);
    readers.set(linear, reader);
  }
  return {
    tensors,
    set(blocks) {
      for (const [linear, reader] of readers) {
        const { rows, shares } = blocks.get(linear)!;
        for (const [i, row] of rows.entries()) reader.rows[i] = BigInt(row);
        reader.shares.set(shares);
      }
    },
  };
}
