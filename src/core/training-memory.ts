// What a training job on the processor takes in memory at most, before it takes it. Pure.

import type { ModelShape } from './base-model.ts';
import { LorikeetError } from './errors.ts';

const MiB = 2 ** 20;

/**
 * Tokens that are computed at once, padding included. More are no faster from here on, and activations grow with them;
 * the rest after each is what serving waits for.
 */
export const microBatchTokens = 512;

/** Of a trainer beside its weights. */
const processBytes = 160 * MiB;
/**
 * Floats of a token, layer and hidden value that wait for the way back. Measured with rows of 512 and 1,024 tokens:
 * SmolLM2-135M took 1,053 and 2,380 MiB, and with `recompute` 514 and 742.
 */
const keptFloats = 18;
const keptByRecompute = 4;
/** Matrices of shares, [tokens, tokens] of each head, that one layer works with beside those that are kept. */
const sharesAtWork = 3;

type Sizes = Pick<ModelShape, 'layers' | 'hidden' | 'heads'>;
type Rows = { readonly longestRow: number; readonly recompute: boolean };

type Parts = { readonly weights: number; readonly activations: number; readonly attention: number };

/** Bytes; rows up to `microBatchTokens` share a micro-batch, a longer one is one by itself. */
function trainingParts(sizes: Sizes, weights: number, { longestRow, recompute }: Rows): Parts {
  const { layers, hidden, heads } = sizes;
  const tokens = Math.max(microBatchTokens, longestRow);
  const floats = recompute ? keptByRecompute * layers + keptFloats : keptFloats * layers;
  const shares = (recompute ? 1 : layers) + sharesAtWork;
  return {
    weights: weights + processBytes,
    activations: 4 * tokens * hidden * floats,
    attention: 4 * tokens * longestRow * heads * shares,
  };
}

const sumOf = ({ weights, activations, attention }: Parts) => weights + activations + attention;

/** Of a job whose rows are as long as usual ones. */
export const usualTrainingBytes = (sizes: Sizes, weightBytes: number): number =>
  weightBytes + processBytes + 4 * microBatchTokens * sizes.layers * sizes.hidden * keptFloats;

/** What there is for a job, and its model's weights. */
export type TrainingMemory = { readonly bytes: number; readonly weightBytes: number };

/** Throws `memory_exceeded` where the system would end the trainer, or whoever else it finds. */
export function assertRowsFit(sizes: Sizes, { bytes, weightBytes }: TrainingMemory, rows: Rows): void {
  const parts = trainingParts(sizes, weightBytes, rows);
  // Room for usual rows is part of any plan, or its lack was said at the start.
  if (rows.longestRow <= microBatchTokens || sumOf(parts) <= bytes) return;
  const inMiB = (bytes: number) => `${Math.round(bytes / MiB)} MiB`;
  const list = `weights ${inMiB(parts.weights)}, activations ${inMiB(parts.activations)}`;
  const sum = `${list}, attention ${inMiB(parts.attention)}`;
  const advice = rows.recompute ? 'Lower max_tokens.' : 'Lower max_tokens, or set recompute.';
  throw new LorikeetError('memory_exceeded', {
    message:
      `The longest row has ${rows.longestRow} tokens, and training on it needs ${inMiB(sumOf(parts))} of memory; ` +
      `there are ${inMiB(bytes)}: ${sum}. ${advice}`,
    param: 'max_tokens',
  });
}
