// Runs with pages in device memory, which prefills and decode steps read alike, in graphs that cover no more linears
// than the batch's adapters need.

import type { ModelShape } from '../../core/base-model.ts';
import {
  type AdaptersInGraph,
  type DecoderResult,
  type DeviceForm,
  type Reach,
  reaches,
} from '../../graph/adapted-linear.ts';
import { withoutAdapters } from '../../graph/decoder.ts';
import type { Binding, Runtime } from '../../runtime/session.ts';
import type { DevicePages } from '../adapters/device-pages.ts';
import { joinedSizes, type ResidentAdapter } from '../adapters/resident-adapter.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { TiedAdapters } from './adapter-runs.ts';
import type { Phase } from './device-run.ts';
import { tiePages } from './tie-pages.ts';

const listForms = { prefill: 'one', decode: 'mixed' } as const;
/** The operator treats a prompt's tokens as rows of a batch. */
const tableForms = { prefill: 'table', decode: 'table' } as const;

export type DeviceRuns = {
  /** The graph of a run on the base's weights. */
  form(phase: Phase, adapters: readonly (RowAdapter | null)[]): AdaptersInGraph;
  /** The graphs that an adapter needs; for null those that most adapters need. */
  formsOf(adapter: ResidentAdapter | null): readonly AdaptersInGraph[];
  /** Binds what does not change from run to run. */
  tie(binding: Binding, form: AdaptersInGraph, result: DecoderResult): TiedAdapters | null;
};

/** @param hasOperators whether graphs read tables of pages instead of lists */
export function createDeviceRuns(
  runtime: Runtime,
  shape: ModelShape,
  pages: DevicePages,
  hasOperators: boolean,
): DeviceRuns {
  const formIn: Readonly<Record<Phase, DeviceForm['form']>> = hasOperators ? tableForms : listForms;
  const sizes = joinedSizes(shape);
  const graphs = (reach: Reach) =>
    (['prefill', 'decode'] as const).map((phase): AdaptersInGraph => ({ form: formIn[phase], reach }));
  return {
    form: (phase, adapters) =>
      adapters.some((row) => row !== null) ? { form: formIn[phase], reach: widest(adapters) } : withoutAdapters,
    // Most adapters need one of these two; the widest is made when the first adapter needs it.
    formsOf: (adapter) => (adapter ? graphs(adapter.reach) : [...graphs('attention'), ...graphs('layers')]),
    tie(binding, adapters, result) {
      if (adapters.form === 'none' || adapters.form === 'grouped') return null;
      const { form, reach } = adapters;
      return tiePages(runtime, binding, { sizes, pages, shape, form, reach, result });
    },
  };
}

/** The narrowest reach that covers all of the rows' adapters. */
function widest(rows: readonly (RowAdapter | null)[]): Reach {
  const order = Object.keys(reaches) as Reach[];
  return order[Math.max(...rows.map((row) => (row ? order.indexOf(row.adapter.reach) : 0)))]!;
}
