// Binds the pools of pages once and whole, and sends with each run which pages it reads.

import type { ModelShape } from '../../core/base-model.ts';
import {
  adapterNames,
  type DecoderResult,
  type DeviceForm,
  hasLinear,
  type JoinedLinear,
  type Reach,
  reaches,
} from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import type { SharedPages } from '../adapters/device-page-table.ts';
import type { DevicePages } from '../adapters/device-pages.ts';
import type { JoinedSizes } from '../adapters/resident-adapter.ts';
import { type RowAdapter, rangeOf } from '../adapters/row-adapter.ts';
import type { TiedAdapters } from './adapter-runs.ts';
import { createSender, type Sent } from './sender.ts';
import { sentLists, sentTable } from './sent-pages.ts';
import { tieGains } from './tie-gains.ts';

export type TiedPagesOptions = {
  readonly form: DeviceForm['form'];
  readonly reach: Reach;
  readonly sizes: readonly JoinedSizes[];
  readonly pages: DevicePages;
  readonly shape: ModelShape;
  readonly result: DecoderResult;
};

export function tiePages(runtime: Runtime, binding: Binding, options: TiedPagesOptions): TiedAdapters {
  const { pages, form, reach, shape, result } = options;
  const linears = reaches[reach].linears.filter((linear) => hasLinear(result, linear));
  const sizes = options.sizes.filter((one) => linears.some((linear) => linear === one.linear));
  const gains = reaches[reach].gains ? tieGains(runtime, shape, binding, sizes) : null;
  const pools: Tensor[] = [];
  const tie = (name: string, tensor: Tensor) => {
    binding.input(name, tensor);
    pools.push(tensor);
  };
  for (const { linear, layers, modules } of sizes) {
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        const { a, b } = pages.tie(linear, part, layer);
        tie(adapterNames.a(layer, module), a);
        tie(adapterNames.b(layer, module), b);
      }
    }
  }
  const sender = createSender(runtime, binding);
  return {
    write(rows) {
      gains?.write(rows);
      for (const linear of linears) {
        const all = linear === 'head' ? rows.sampled : rows.rows;
        // In the form `one` all rows are of one sequence.
        const read = (form === 'one' ? all.slice(0, 1) : all).map((row) => rowPages(row, linear));
        const sent: readonly Sent[] =
          form === 'table' ? sentTable(linear, read, rows.steady ?? false) : sentLists(form, linear, read);
        for (const one of sent) sender.send(one);
      }
    },
    release() {
      sender.release();
      gains?.release();
      for (const tensor of pools) tensor.release();
    },
  };
}

function rowPages(row: RowAdapter | null, linear: JoinedLinear): SharedPages | null {
  const range = row && rangeOf(row, linear);
  if (!range) return null;
  return { ...range, scale: row.scale, shares: row.adapter.linears.get(linear)!.shares };
}
