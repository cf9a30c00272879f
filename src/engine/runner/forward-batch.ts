// What one run of the decoder is asked for: the next tokens of some sequences, of each as many as it likes.

import type { ModelShape } from '../../core/base-model.ts';
import type { DecoderResult } from '../../graph/adapted-linear.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { MergedModel } from './merged-model.ts';

/**
 * Whose tokens they are. Those of a prompt have activations of 16 bits, those of an answer of 8, whoever computes them
 * and when: a token's keys and values have the same bits whether a step made them or they are computed anew.
 */
export type TokenKind = 'prompt' | 'answer';

/** Tokens [past, to) of one sequence. */
export type BatchPart = {
  /** The KV row of the sequence, which holds what is before `past`. */
  readonly row: number;
  readonly past: number;
  readonly to: number;
  /** The sequence's, from its beginning on. */
  readonly tokens: readonly number[];
  readonly kind: TokenKind;
  /** Positions of which a result is wanted, rising: the logits of the next token, or the hidden row. */
  readonly sampled: readonly number[];
  readonly adapter: RowAdapter | null;
  /** In the place of the first tokens' embeddings; left out: none. The host's alone. */
  readonly given?: GivenEmbeddings;
  /** All logits of its rows are wanted, not the best of them alone; false by default. */
  readonly whole?: boolean;
};

/** As the residual has them: [count, width]. */
export type GivenEmbeddings = { readonly count: number; readonly width: number; readonly values: Float32Array };

export type ForwardBatch = {
  /** Of answers first. A row is there once. */
  readonly parts: readonly BatchPart[];
  /** Whose weights; left out: the base's. Merged rows have no adapters. */
  readonly merged?: MergedModel | null;
  /** Left out: logits. */
  readonly result?: DecoderResult;
  /**
   * Whether this run goes on beside steps, with the processor's time that they leave; left out: it does not. One such
   * run at a time, on rows that no step touches. The logits are the caller's own.
   */
  readonly aside?: boolean;
};

/** Neighbouring rows, each with the same number of new tokens. */
export type EvenBatch = Pick<ForwardBatch, 'merged' | 'aside'> & {
  readonly kind: TokenKind;
  readonly first: number;
  readonly pasts: readonly number[];
  /** Row-major [rows, new tokens]. */
  readonly tokens: readonly number[];
  /** Of `tokens`, by index, rising. */
  readonly sampled: readonly number[];
  /** By row; left out: none. */
  readonly adapters?: readonly (RowAdapter | null)[];
};

export function evenBatch(batch: EvenBatch): ForwardBatch {
  const { kind, first, pasts, tokens, sampled, adapters = [], ...rest } = batch;
  const length = tokens.length / pasts.length;
  const parts = pasts.map((past, i): BatchPart => {
    // What is before is in the row: nobody asks for it.
    const all = new Array<number>(past);
    all.push(...tokens.slice(i * length, (i + 1) * length));
    const own = sampled.filter((index) => Math.floor(index / length) === i);
    return {
      ...{ row: first + i, past, to: past + length, tokens: all, kind },
      sampled: own.map((index) => past + (index % length)),
      adapter: adapters[i] ?? null,
    };
  });
  return { ...rest, parts };
}

/** Numbers of a row of the result. */
export const resultWidth = ({ vocabulary, hidden }: ModelShape, result: DecoderResult): number =>
  result === 'logits' ? vocabulary : hidden;

/** Rows that a run gives. */
export const sampledCount = ({ parts }: ForwardBatch): number =>
  parts.reduce((count, { sampled }) => count + sampled.length, 0);

/** Tokens that a run computes. */
export const tokenCount = ({ parts }: ForwardBatch): number =>
  parts.reduce((count, { past, to }) => count + to - past, 0);
