// Ties the pools of pages whole, once, and the lists of what is read of them in a run, which are sent with it.

import { adapterNames, type JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor, TensorData } from '../../runtime/session.ts';
import { type JoinedSizes, pageRanks, type ResidentAdapter } from '../adapters/resident-adapter.ts';
import type { RowGains } from '../adapters/row-gains.ts';
import type { DevicePages } from './device-pages.ts';
import type { PageList } from './page-list.ts';

export type PageLists = ReadonlyMap<JoinedLinear, PageList>;

export type TiedPages = {
  /** `adapters` by row, and by sampled row; a prefill has one. */
  set(lists: PageLists, adapters: Adapters, sampled: Adapters): void;
  release(): void;
};

type Adapters = readonly (ResidentAdapter | null)[];

export type TiedPagesOptions = {
  readonly sizes: readonly JoinedSizes[];
  readonly pages: DevicePages;
  readonly form: 'one' | 'mixed';
  /** That the graph reaches. */
  readonly linears: readonly JoinedLinear[];
  /** [1, out] in `one`, [rows, out] in `mixed`; null in a graph without. */
  readonly gains: RowGains | null;
  readonly rows: number;
};

export function tiePages(runtime: Runtime, binding: Binding, options: TiedPagesOptions): TiedPages {
  const { sizes, pages, form, linears, gains, rows } = options;
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
    set(wanted, adapters, sampled) {
      gains?.set(adapters, sampled);
      for (const { linear, list } of lists) list.send(wanted.get(linear)!);
    },
    release() {
      for (const { list } of lists) list.release();
      for (const tensor of pools) tensor.release();
    },
  };
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
