// DoRA's gains of a run: a row of ones, and a row for each adapter of the batch with gains, which stays until another
// needs its place. Each row of the run has the index of the one that it takes.

import type { ModelShape } from '../../core/base-model.ts';
import { adapterNames } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import type { JoinedSizes, ResidentAdapter } from '../adapters/resident-adapter.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import { createRowGains, type RowGains } from '../adapters/row-gains.ts';
import type { TiedAdapters } from './adapter-runs.ts';
import { createSender } from './sender.ts';

const ones = 0;

/** @param sizes of the linears that the graph has */
export function tieGains(
  runtime: Runtime,
  shape: ModelShape,
  binding: Binding,
  sizes: readonly JoinedSizes[],
): TiedAdapters {
  const sender = createSender(runtime, binding);
  /** Keys of adapters, by row of the gains. */
  let keys: (string | null)[] = [];
  let gains: RowGains;
  let tensors: Tensor[] = [];
  const resize = (rows: number) => {
    const old = tensors;
    tensors = [];
    keys = new Array<string | null>(rows).fill(null);
    gains = createRowGains(shape, rows);
    for (const { linear, layers, out } of sizes) {
      for (let layer = 0; layer < layers; layer++) {
        const tensor = runtime.tensor(gains.of(linear, layer, rows), [rows, out]);
        binding.input(adapterNames.gain(layer, linear), tensor);
        tensors.push(tensor);
      }
    }
    for (const tensor of old) tensor.release();
  };
  resize(2);
  const keep = (wanted: ReadonlyMap<string, ResidentAdapter>) => {
    if (wanted.size >= keys.length) resize(2 ** Math.ceil(Math.log2(wanted.size + 1)));
    for (const [key, adapter] of wanted) {
      if (keys.includes(key)) continue;
      const row = keys.findIndex((other, row) => row !== ones && (other === null || !wanted.has(other)));
      keys[row] = key;
      gains.put(row, adapter);
    }
  };
  return {
    write({ rows, sampled }) {
      const having = rows.flatMap((row) => (row?.adapter.hasGains ? [row.adapter] : []));
      keep(new Map(having.map((adapter) => [adapter.key, adapter])));
      const placeOf = (row: RowAdapter | null) => (row?.adapter.hasGains ? keys.indexOf(row.adapter.key) : ones);
      for (const { linear } of sizes) {
        const data = Int32Array.from(linear === 'head' ? sampled : rows, placeOf);
        sender.send({ name: adapterNames.gainOf(linear), data, shape: [data.length] });
      }
    },
    release() {
      sender.release();
      for (const tensor of tensors) tensor.release();
    },
  };
}
