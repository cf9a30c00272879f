// What one run of the decoder is asked for.

import type { RowAdapter } from './adapters/row-adapter.ts';
import type { MergedModel } from './merges/merged-model.ts';

export type Phase = 'prefill' | 'decode';

/** Neighbouring KV rows [first, first + pasts.length), each with the same number of new tokens. */
export type ForwardBatch = {
  /** Prompts round activations to 16 bits, not 8: their keys and values are read by every later step. */
  readonly phase: Phase;
  readonly first: number;
  /** Tokens that each row holds already. */
  readonly pasts: readonly number[];
  /** Row-major [rows, new tokens]. */
  readonly tokens: readonly number[];
  /** Which of `tokens`, by index, to give the next token's logits for; all of them in a decode step. */
  readonly sampled: readonly number[];
  /** By row; left out: none. A prefill with an adapter has one row. */
  readonly adapters?: readonly (RowAdapter | null)[];
  /** Whose weights; left out: the base's. Merged rows have no adapters. */
  readonly merged?: MergedModel | null;
  /**
   * While steps run, of what they leave of the processor; left out: false. Not two at a time, and on rows that no step
   * touches. The logits are the caller's own.
   */
  readonly aside?: boolean;
};

/**
 * The same run with row `order[i]` in place i. Logits still come as `sampled` asks, so whoever reads them sees no
 * difference.
 */
export function inOrder(batch: ForwardBatch, order: readonly number[] | null): ForwardBatch {
  if (order === null) return batch;
  const { pasts, tokens, sampled, adapters } = batch;
  const length = tokens.length / pasts.length;
  const placeOf = new Map(order.map((row, place) => [row, place]));
  return {
    ...batch,
    pasts: order.map((row) => pasts[row]!),
    tokens: order.flatMap((row) => tokens.slice(row * length, (row + 1) * length)),
    sampled: sampled.map((index) => placeOf.get(Math.floor(index / length))! * length + (index % length)),
    ...(adapters && adapters.length > 0 ? { adapters: order.map((row) => adapters[row]!) } : {}),
  };
}
