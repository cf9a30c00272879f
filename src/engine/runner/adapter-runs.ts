// Binds what a run of the decoder needs of adapters, and writes it before the run.

import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { ForwardBatch } from './forward-batch.ts';

/** What is bound for adapters, beside what is bound for the base. */
export type TiedAdapters = {
  write(rows: AdaptedRows): void;
  release(): void;
};

export type AdaptedRows = {
  /** The adapter of each row of the graph's activations, which are tokens; null for none. */
  readonly rows: readonly (RowAdapter | null)[];
  /** The adapters of the rows whose results are wanted, in the order in which the head sees them. */
  readonly sampled: readonly (RowAdapter | null)[];
  /** Whether the step's sizes should come again; false by default. */
  readonly steady?: boolean;
};

/** The adapters of a batch by token: each of its sequences has one, or none. */
export function adaptedRows({ parts }: ForwardBatch): AdaptedRows {
  const rows: (RowAdapter | null)[] = [];
  const sampled: (RowAdapter | null)[] = [];
  for (const { past, to, sampled: wanted, adapter } of parts) {
    for (let position = past; position < to; position++) rows.push(adapter);
    for (const _ of wanted) sampled.push(adapter);
  }
  return { rows, sampled };
}
