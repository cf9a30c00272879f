// Adapters on the processor: one graph serves every batch, with adapters or without; a second one has DoRA's gains,
// too. Pools are bound once and whole; a run writes which pages, and which gains, each row reads.

import type { ModelShape } from '../../core/base-model.ts';
import { adapterNames, type DecoderResult, type HostForm, hasLinear } from '../../graph/adapted-linear.ts';
import { withoutAdapters } from '../../graph/decoder.ts';
import type { Binding, Runtime } from '../../runtime/session.ts';
import { bindPages } from '../adapters/bound-pages.ts';
import type { HostPages } from '../adapters/host-pages.ts';
import { joinedSizes, type ResidentAdapter } from '../adapters/resident-adapter.ts';
import type { TiedAdapters } from './adapter-runs.ts';
import type { BlockRuns } from './block-runs.ts';
import { tieGains } from './tie-gains.ts';

export type HostRuns = BlockRuns & {
  /** The graph that an adapter needs; for null that of batches without adapters. */
  formOf(adapter: ResidentAdapter | null): HostForm;
};

export function createHostRuns(runtime: Runtime, shape: ModelShape, pages: HostPages): HostRuns {
  const graph = (gains: boolean): HostForm => ({ form: 'grouped', gains, bits: pages.bits });
  return {
    form: (parts, isMerged) =>
      isMerged ? withoutAdapters : graph(parts.some(({ adapter }) => adapter?.adapter.hasGains)),
    formOf: (adapter) => graph(adapter?.hasGains ?? false),
    tie(binding, form, result) {
      return form.form === 'grouped' ? tie(runtime, shape, pages, binding, form, result) : null;
    },
  };
}

function tie(
  runtime: Runtime,
  shape: ModelShape,
  pages: HostPages,
  binding: Binding,
  form: HostForm,
  result: DecoderResult,
): TiedAdapters {
  const sizes = joinedSizes(shape).filter(({ linear }) => hasLinear(result, linear));
  for (const { linear, layers, modules } of sizes) {
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        const { a, b } = pages.of(linear, part, layer);
        binding.input(adapterNames.a(layer, module), a);
        binding.input(adapterNames.b(layer, module), b);
      }
    }
  }
  const gains = form.gains ? tieGains(runtime, shape, binding, sizes) : null;
  const tables = sizes.map(({ linear }) => bindPages(runtime, binding, linear));
  return {
    write(batch) {
      for (const table of tables) table.write(table.linear === 'head' ? batch.sampled : batch.rows);
      gains?.write(batch);
    },
    release() {
      for (const table of tables) table.release();
      gains?.release();
    },
  };
}
