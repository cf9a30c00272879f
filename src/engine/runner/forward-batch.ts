// The input of one run of the decoder: the next tokens of some sequences, any number of each.

import type { ModelShape } from '../../core/base-model.ts';
import type { DecoderResult } from '../../graph/adapted-linear.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { MergedModel } from './merged-model.ts';

/**
 * Whether tokens are of a prompt or of an answer. Activations of a prompt have 16 bits, those of an answer 8, in
 * whatever run they are computed: a token's keys and values have the same bits when they are computed anew.
 */
export type TokenKind = 'prompt' | 'answer';

/** Tokens [past, to) of one sequence. */
export type BatchPart = {
  /** The sequence's KV row, which holds the tokens before `past`. */
  readonly row: number;
  readonly past: number;
  readonly to: number;
  /** All tokens of the sequence from its beginning on. */
  readonly tokens: readonly number[];
  readonly kind: TokenKind;
  /** Rising positions whose result is wanted: the logits of the next token, or the hidden row. */
  readonly sampled: readonly number[];
  readonly adapter: RowAdapter | null;
  /** Embeddings in place of the first tokens' own, on the host only; none by default. */
  readonly given?: GivenEmbeddings;
  /** Whether all logits of its rows are wanted instead of the best alone; false by default. */
  readonly whole?: boolean;
};

/** Rows [count, width] as the residual stream has them. */
export type GivenEmbeddings = { readonly count: number; readonly width: number; readonly values: Float32Array };

export type ForwardBatch = {
  /** Parts of answers come first. A row occurs once. */
  readonly parts: readonly BatchPart[];
  /** The merged model to run on, whose rows have no adapters; the base by default. */
  readonly merged?: MergedModel | null;
  /** What the run gives; logits by default. */
  readonly result?: DecoderResult;
  /**
   * Whether the run goes on beside steps, in the processor's time that they leave; false by default. There may be one
   * such run at a time, on rows that no step touches. Its results are in a buffer of the caller's own.
   */
  readonly aside?: boolean;
};

/** Consecutive rows with equally many new tokens each. */
export type EvenBatch = Pick<ForwardBatch, 'merged' | 'aside'> & {
  readonly kind: TokenKind;
  readonly first: number;
  readonly pasts: readonly number[];
  /** Row-major [rows, new tokens]. */
  readonly tokens: readonly number[];
  /** Rising indices into `tokens` of those whose result is wanted. */
  readonly sampled: readonly number[];
  /** Adapter of each row; none by default. */
  readonly adapters?: readonly (RowAdapter | null)[];
};

export function evenBatch(batch: EvenBatch): ForwardBatch {
  const { kind, first, pasts, tokens, sampled, adapters = [], ...rest } = batch;
  const length = tokens.length / pasts.length;
  const parts = pasts.map((past, i): BatchPart => {
    // The tokens before are in the row and are never read.
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

/** Numbers in one row of the result. */
export const resultWidth = ({ vocabulary, hidden }: ModelShape, result: DecoderResult): number =>
  result === 'logits' ? vocabulary : hidden;

/** Rows of a run's result. */
export const sampledCount = ({ parts }: ForwardBatch): number =>
  parts.reduce((count, { sampled }) => count + sampled.length, 0);

/** Tokens that a run computes. */
export const tokenCount = ({ parts }: ForwardBatch): number =>
  parts.reduce((count, { past, to }) => count + to - past, 0);
