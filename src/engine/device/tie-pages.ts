// Ties the pools of pages whole, once, and the lists of what is read of them in a run, which are sent with it.

import type { ModelShape } from '../../core/base-model.ts';
import { adapterNames, type DeviceForm, type JoinedLinear, pageRanks, reaches } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor, TensorData } from '../../runtime/session.ts';
import type { TiedAdapters } from '../adapters/adapter-runs.ts';
import type { JoinedSizes } from '../adapters/resident-adapter.ts';
import { type RowAdapter, rangeOf } from '../adapters/row-adapter.ts';
import { createRowGains } from '../adapters/row-gains.ts';
import type { DevicePages } from './device-pages.ts';
import { type PageList, pageList, type RowPages } from './page-list.ts';

export type TiedPagesOptions = DeviceForm & {
  readonly sizes: readonly JoinedSizes[];
  readonly pages: DevicePages;
  readonly shape: ModelShape;
  /** Of a decode step; a prefill is of one. */
  readonly rows: number;
};

export function tiePages(runtime: Runtime, binding: Binding, options: TiedPagesOptions): TiedAdapters {
  const { sizes, pages, form, reach, shape } = options;
  const linears: readonly JoinedLinear[] = reaches[reach].linears;
  const rows = form === 'one' ? 1 : options.rows;
  // Gains are a binding's own: nothing else says which rows they are of.
  const gains = reaches[reach].gains ? createRowGains(shape, rows) : null;
  const pools: Tensor[] = [];
  const tie = (name: string, tensor: Tensor) => {
    binding.input(name, tensor);
    pools.push(tensor);
  };
  for (const { linear, layers, modules, out } of sizes.filter(({ linear }) => linears.includes(linear))) {
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        const { a, b } = pages.tie(linear, part, layer);
        tie(adapterNames.a(layer, module), a);
        tie(adapterNames.b(layer, module), b);
      }
      if (gains) tie(adapterNames.gain(layer, linear), runtime.tensor(gains.of(linear, layer, rows), [rows, out]));
    }
  }
  const lists = linears.map((linear) => ({ linear, list: sentList(runtime, binding, form, linear) }));
  return {
    write({ rows: all, sampled }) {
      // A prefill's tokens are one sequence's.
      const [own, ofHead] = form === 'one' ? [all.slice(0, 1), sampled.slice(0, 1)] : [all, sampled];
      gains?.set(adaptersOf(own), adaptersOf(ofHead));
      for (const { linear, list } of lists) {
        list.send(pageList((linear === 'head' ? ofHead : own).map((row) => rowPages(row, linear))));
      }
    },
    release() {
      for (const { list } of lists) list.release();
      for (const tensor of pools) tensor.release();
    },
  };
}

const adaptersOf = (rows: readonly (RowAdapter | null)[]) => rows.map((row) => row?.adapter ?? null);

function rowPages(row: RowAdapter | null, linear: JoinedLinear): RowPages | null {
  const range = row && rangeOf(row, linear);
  return range ? { ...range, scale: row.scale } : null;
}

/** One linear's list, in tensors that are made anew when its sizes change. */
function sentList(runtime: Runtime, binding: Binding, form: 'one' | 'mixed', linear: JoinedLinear) {
  const sent = new Map<string, { data: Float32Array | BigInt64Array; tensor: Tensor; shape: string }>();
  const write = (name: string, values: Float32Array | readonly number[], shape: readonly number[]) => {
    let known = sent.get(name);
    if (known?.shape !== String(shape)) {
      known?.tensor.release();
      const fresh = values instanceof Float32Array ? values.slice() : new BigInt64Array(values.length);
      known = { data: fresh, tensor: runtime.tensor(fresh as TensorData, shape), shape: String(shape) };
      sent.set(name, known);
      binding.input(name, known.tensor);
    }
    if (known.data instanceof Float32Array) known.data.set(values);
    else for (let i = 0; i < values.length; i++) known.data[i] = BigInt(values[i]!);
  };
  return {
    send({ pages, served, rows, taken, own, scales }: PageList) {
      write(adapterNames.pages(linear), pages, [pages.length]);
      if (form === 'one') {
        // One row reads every listed page once, in order: a scale for each rank.
        const ofRanks = Float32Array.from(
          { length: pages.length * pageRanks },
          (_, i) => scales[Math.floor(i / pageRanks)]!,
        );
        write(adapterNames.scales(linear), ofRanks, [ofRanks.length]);
        return;
      }
      write(adapterNames.rows(linear), rows, [pages.length, served]);
      write(adapterNames.own(linear), own, [own.length / taken, taken]);
      write(adapterNames.shares(linear), scales, [own.length / taken, 1, taken]);
    },
    release() {
      for (const { tensor } of sent.values()) tensor.release();
    },
  };
}
