// Ties the pools of pages whole, once, and what says which of them a run reads, which is sent with it.

import { adapterNames, type JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor, TensorData } from '../../runtime/session.ts';
import type { JoinedSizes, ResidentAdapter } from '../adapters/resident-adapter.ts';
import type { RowGains } from '../adapters/row-gains.ts';
import type { DevicePages } from './device-pages.ts';

/** A small input, by name. */
export type Sent = { readonly name: string; readonly data: TensorData; readonly shape: readonly number[] };

export type TiedPages = {
  /** `adapters` by row, and by sampled row; a prefill has one. */
  set(sent: readonly Sent[], adapters: Adapters, sampled: Adapters): void;
  release(): void;
};

type Adapters = readonly (ResidentAdapter | null)[];

export type TiedPagesOptions = {
  readonly sizes: readonly JoinedSizes[];
  readonly pages: DevicePages;
  /** That the graph reaches. */
  readonly linears: readonly JoinedLinear[];
  /** [1, out] in `one`, [rows, out] in `mixed`; null in a graph without. */
  readonly gains: RowGains | null;
  readonly rows: number;
};

export function tiePages(runtime: Runtime, binding: Binding, options: TiedPagesOptions): TiedPages {
  const { sizes, pages, linears, gains, rows } = options;
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
  const sender = createSender(runtime, binding);
  return {
    set(sent, adapters, sampled) {
      gains?.set(adapters, sampled);
      for (const each of sent) sender.send(each);
    },
    release() {
      sender.release();
      for (const tensor of pools) tensor.release();
    },
  };
}

/** Small inputs in tensors that are made anew when their sizes change. */
function createSender(runtime: Runtime, binding: Binding) {
  const sent = new Map<string, { data: TensorData; tensor: Tensor; shape: string }>();
  return {
    send({ name, data, shape }: Sent) {
      let known = sent.get(name);
      if (known?.shape !== String(shape)) {
        known?.tensor.release();
        const fresh = data.slice();
        known = { data: fresh, tensor: runtime.tensor(fresh, shape), shape: String(shape) };
        sent.set(name, known);
        binding.input(name, known.tensor);
      }
      (known.data as { set(values: TensorData): void }).set(data);
    },
    release() {
      for (const { tensor } of sent.values()) tensor.release();
    },
  };
}
