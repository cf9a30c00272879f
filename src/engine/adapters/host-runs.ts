// Runs on the host: one graph serves every batch, with adapters or without, and a second one DoRA's gains. The pools are
// tied whole and once; a run writes which pages each row reads.

import type { ModelShape } from '../../core/base-model.ts';
import { adapterNames, type HostForm } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import type { AdapterRuns, TiedAdapters } from './adapter-runs.ts';
import type { HostPages } from './host-pages.ts';
import { pageTable } from './page-table.ts';
import { joinedSizes } from './resident-adapter.ts';
import { createRowGains } from './row-gains.ts';

export function createHostRuns(runtime: Runtime, shape: ModelShape, pages: HostPages): AdapterRuns {
  const graphs = (gains: boolean) => {
    const form: HostForm = { form: 'grouped', gains };
    return [
      ['prefill', form],
      ['decode', form],
    ] as const;
  };
  return {
    form: (_, adapters) => ({ form: 'grouped', gains: adapters.some((row) => row?.adapter.hasGains) }),
    forms: (adapter) => graphs(adapter?.hasGains ?? false),
    tie: (binding, form, phase, rows) =>
      form.form === 'grouped' ? tie(runtime, shape, pages, binding, form, phase === 'prefill' ? 1 : rows) : null,
  };
}

/** @param gainRows of a run; a prefill's tokens are all one sequence's, and share one row of them */
function tie(
  runtime: Runtime,
  shape: ModelShape,
  pages: HostPages,
  binding: Binding,
  form: HostForm,
  gainRows: number,
): TiedAdapters {
  const ofGains: Tensor[] = [];
  const sizes = joinedSizes(shape);
  const gains = form.gains ? createRowGains(shape, gainRows) : null;
  for (const { linear, layers, modules, out } of sizes) {
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        const { a, b } = pages.of(linear, part, layer);
        binding.input(adapterNames.a(layer, module), a);
        binding.input(adapterNames.b(layer, module), b);
      }
      if (!gains) continue;
      const tensor = runtime.tensor(gains.of(linear, layer, gainRows), [gainRows, out]);
      binding.input(adapterNames.gain(layer, linear), tensor);
      ofGains.push(tensor);
    }
  }
  const tables = sizes.map(({ linear }) => pageTable(runtime, binding, linear));
  return {
    write({ rows, sampled }) {
      for (const table of tables) table.write(table.linear === 'head' ? sampled : rows);
      const adapters = rows.map((row) => row?.adapter ?? null);
      const ofHead = sampled.map((row) => row?.adapter ?? null);
      gains?.set(adapters.slice(0, gainRows), ofHead.slice(0, gainRows));
    },
    release() {
      for (const table of tables) table.release();
      for (const tensor of ofGains) tensor.release();
    },
  };
}
