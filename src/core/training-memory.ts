// Upper bound on the memory of a training job on the processor, computed before the job starts. Pure.

import type { ModelShape } from './base-model.ts';
import { LorikeetError } from './errors.ts';

const MiB = 2 ** 20;

/**
 * Tokens computed at once, padding included. Larger micro-batches are no faster, and activations grow with them.
 * Serving gets its time between two micro-batches, so their length is also how long it waits.
 */
export const microBatchTokens = 512;

/** Memory of a trainer process beside its weights. */
const processBytes = 160 * MiB;
/**
 * Floats kept for the backward pass for each token, layer and hidden value. Measured with rows of 512 and 1,024 tokens:
 * SmolLM2-135M took 1,053 and 2,380 MiB, and with `recompute` 514 and 742.
 */
const keptFloats = 18;
const keptByRecompute = 4;
/** Matrices of attention probabilities, [tokens, tokens] for each head, that one layer works with beside those kept. */
const sharesAtWork = 3;

type Sizes = Pick<ModelShape, 'layers' | 'hidden' | 'heads'>;
type Rows = { readonly longestRow: number; readonly recompute: boolean };

type Parts = { readonly weights: number; readonly activations: number; readonly attention: number };

/** Sums up bytes. Rows up to `microBatchTokens` share a micro-batch; a longer row is a micro-batch by itself. */
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

/** Bytes of a job whose rows are at most `microBatchTokens` long. */
export const usualTrainingBytes = (sizes: Sizes, weightBytes: number): number =>
  weightBytes + processBytes + 4 * microBatchTokens * sizes.layers * sizes.hidden * keptFloats;

/** Memory that a job may take in all, and the part of it that the model's weights need. */
export type TrainingMemory = { readonly bytes: number; readonly weightBytes: number };

/**
 * Throws `memory_exceeded` where the rows need more memory than there is: the system would end the trainer, or another
 * process.
 */
export function assertRowsFit(sizes: Sizes, { bytes, weightBytes }: TrainingMemory, rows: Rows): void {
  const parts = trainingParts(sizes, weightBytes, rows);
  // Every memory plan has room for rows of usual length, or its lack was reported at the start.
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
