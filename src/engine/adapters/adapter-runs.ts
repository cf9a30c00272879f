// What a run of the decoder needs of adapters: which graph, and what is tied to its binding and written before the run.

import type { AdaptersInGraph } from '../../graph/adapted-linear.ts';
import { withoutAdapters } from '../../graph/decoder.ts';
import type { Binding } from '../../runtime/session.ts';
import type { ForwardBatch, Phase } from '../forward-batch.ts';
import type { Window } from '../window.ts';
import type { ResidentAdapter } from './resident-adapter.ts';
import type { RowAdapter } from './row-adapter.ts';

/** What of adapters is tied to a binding, beside what the base has there. */
export type TiedAdapters = {
  write(rows: AdaptedRows): void;
  release(): void;
};

export type AdaptedRows = {
  /** By row of the graph's activations: by token in a prefill. */
  readonly rows: readonly (RowAdapter | null)[];
  /** In the order in which the head sees rows. */
  readonly sampled: readonly (RowAdapter | null)[];
};

export type AdapterRuns = {
  /** The graph of a batch on the base's weights. */
  form(phase: Phase, adapters: readonly (RowAdapter | null)[]): AdaptersInGraph;
  /** Graphs that an adapter needs; null: what batches without any run on. */
  forms(adapter: ResidentAdapter | null): readonly (readonly [Phase, AdaptersInGraph])[];
  /** Ties what does not change from run to run. `rows` of a decode step. */
  tie(binding: Binding, form: AdaptersInGraph, phase: Phase, rows: number): TiedAdapters | null;
};

/** Of a batch, which has an adapter for each sequence. */
export function adaptedRows({ adapters = [], pasts, tokens, sampled }: ForwardBatch): AdaptedRows {
  const length = tokens.length / pasts.length;
  const rows = tokens.map((_, i) => adapters[Math.floor(i / length)] ?? null);
  return { rows, sampled: sampled.map((row) => rows[row]!) };
}

/** Merged weights have no adapters beside them. */
export const formOf = (runs: AdapterRuns, { phase, adapters = [], merged = null }: ForwardBatch): AdaptersInGraph =>
  merged === null ? runs.form(phase, adapters) : withoutAdapters;

/** A window, and what of adapters is tied to it. */
export type AdaptedWindow = Window & { readonly adapters: TiedAdapters | null };

export function adaptedWindow(window: Window, adapters: TiedAdapters | null): AdaptedWindow {
  return {
    ...window,
    adapters,
    release() {
      adapters?.release();
      window.release();
    },
  };
}
