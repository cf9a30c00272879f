// Runs where pages are in device memory: a prefill and a decode step read them alike, in graphs that reach no further
// than the adapters of the batch.

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
/** The operator takes a prompt's tokens for rows of a batch. */
const tableForms = { prefill: 'table', decode: 'table' } as const;

export type DeviceRuns = {
  /** The graph of a run on the base's weights. */
  form(phase: Phase, adapters: readonly (RowAdapter | null)[]): AdaptersInGraph;
  /** Graphs that an adapter needs; null: what most need. */
  formsOf(adapter: ResidentAdapter | null): readonly AdaptersInGraph[];
  /** Ties what does not change from run to run. */
  tie(binding: Binding, form: AdaptersInGraph, result: DecoderResult): TiedAdapters | null;
};

/** @param hasOperators graphs read tables of pages, and not lists */
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
    // Most adapters need one of the first two; the widest is made when the first adapter needs it.
    formsOf: (adapter) => (adapter ? graphs(adapter.reach) : [...graphs('attention'), ...graphs('layers')]),
    tie(binding, adapters, result) {
      if (adapters.form === 'none' || adapters.form === 'grouped') return null;
      const { form, reach } = adapters;
      return tiePages(runtime, binding, { sizes, pages, shape, form, reach, result });
    },
  };
}

/** The narrowest graph that covers all of them. */
function widest(rows: readonly (RowAdapter | null)[]): Reach {
  const order = Object.keys(reaches) as Reach[];
  return order[Math.max(...rows.map((row) => (row ? order.indexOf(row.adapter.reach) : 0)))]!;
}
