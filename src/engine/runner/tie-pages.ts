// Ties the pools of pages whole, once, and what says which of them a run reads, which is sent with it.

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
import { createRowGains } from '../adapters/row-gains.ts';
import type { TiedAdapters } from './adapter-runs.ts';
import type { Phase } from './device-run.ts';
import { createSender, type Sent } from './sender.ts';
import { sentLists, sentTable } from './sent-pages.ts';

export type TiedPagesOptions = {
  readonly form: DeviceForm['form'];
  readonly reach: Reach;
  readonly sizes: readonly JoinedSizes[];
  readonly pages: DevicePages;
  readonly shape: ModelShape;
  readonly phase: Phase;
  readonly result: DecoderResult;
  /** Of a decode step; a prefill is of one. */
  readonly rows: number;
};

export function tiePages(runtime: Runtime, binding: Binding, options: TiedPagesOptions): TiedAdapters {
  const { sizes, pages, form, reach, shape, phase, result } = options;
  const linears = reaches[reach].linears.filter((linear) => hasLinear(result, linear));
  // A prefill's tokens are one sequence's.
  const ofOne = phase === 'prefill';
  const rows = ofOne ? 1 : options.rows;
  // Gains are a binding's own: nothing else says which rows they are of.
  const gains = reaches[reach].gains ? createRowGains(shape, rows) : null;
  const pools: Tensor[] = [];
  const tie = (name: string, tensor: Tensor) => {
    binding.input(name, tensor);
    pools.push(tensor);
  };
  for (const { linear, layers, modules, out } of sizes.filter((one) =>
    linears.some((linear) => linear === one.linear),
  )) {
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
  const sentOf = (linear: JoinedLinear, reading: readonly (RowAdapter | null)[]): readonly Sent[] => {
    const read = reading.map((row) => rowPages(row, linear));
    return form === 'table' ? sentTable(linear, read, !ofOne) : sentLists(form, linear, read);
  };
  return {
    write({ rows: all, sampled }) {
      const firstOf = (rows: typeof all, isOne: boolean) => (isOne ? rows.slice(0, 1) : rows);
      gains?.set(adaptersOf(firstOf(all, ofOne)), adaptersOf(firstOf(sampled, ofOne)));
      for (const linear of linears) {
        const reading = firstOf(linear === 'head' ? sampled : all, form === 'one');
        for (const sent of sentOf(linear, reading)) sender.send(sent);
      }
    },
    release() {
      sender.release();
      for (const tensor of pools) tensor.release();
    },
  };
}

const adaptersOf = (rows: readonly (RowAdapter | null)[]) => rows.map((row) => row?.adapter ?? null);

function rowPages(row: RowAdapter | null, linear: JoinedLinear): SharedPages | null {
  const range = row && rangeOf(row, linear);
  if (!range) return null;
  return { ...range, scale: row.scale, shares: row.adapter.linears.get(linear)!.shares };
}
