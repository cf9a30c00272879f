// What a run of the decoder needs of adapters: what is tied to its binding and written before the run.

import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { ForwardBatch } from './forward-batch.ts';

/** What of adapters is tied to a binding, beside what the base has there. */
export type TiedAdapters = {
  write(rows: AdaptedRows): void;
  release(): void;
};

export type AdaptedRows = {
  /** By row of the graph's activations, which are tokens. */
  readonly rows: readonly (RowAdapter | null)[];
  /** In the order in which the head sees rows. */
  readonly sampled: readonly (RowAdapter | null)[];
  /** Of a step whose sizes should come again; false by default. */
  readonly steady?: boolean;
};

/** Of a batch, which has an adapter for each sequence. */
export function adaptedRows({ parts }: ForwardBatch): AdaptedRows {
  const rows: (RowAdapter | null)[] = [];
  const sampled: (RowAdapter | null)[] = [];
  for (const { past, to, sampled: wanted, adapter } of parts) {
    for (let position = past; position < to; position++) rows.push(adapter);
    for (const _ of wanted) sampled.push(adapter);
  }
  return { rows, sampled };
}
