// Chooses the rows of each optimiser step. The choice is a pure function of the rows' lengths, the hyperparameters and
// the step, so a resumed job needs no other state to go on with the same rows.

import { prng, seedFor } from '../core/prng.ts';
import type { Hyperparameters } from '../protocol/training-messages.ts';
import { purposes } from './purposes.ts';

export type BatchSettings = Pick<
  Hyperparameters,
  'epochs' | 'maxSteps' | 'batchRows' | 'batchTokens' | 'shuffle' | 'seed'
>;

export type Batches = {
  /** Optimiser steps in all. */
  readonly steps: number;
  /** Tokens of the rows of all steps. */
  readonly tokens: number;
  /** Rows of step `step`, from 0. */
  rowsOf(step: number): readonly number[];
  /** Epochs done after `steps` steps, a part of one as a fraction. */
  epochAfter(steps: number): number;
};

/** The last batch of an epoch is smaller where the rows do not come out even. `lengths` are the rows' tokens. */
export function planBatches(lengths: readonly number[], settings: BatchSettings): Batches {
  const { epochs, maxSteps } = settings;
  /** First step of each epoch, and at the end the number of all steps. */
  const starts = [0];
  const isEnough = () => (maxSteps === null ? starts.length > epochs! : starts.at(-1)! >= maxSteps);
  while (!isEnough()) starts.push(starts.at(-1)! + batchesOf(starts.length - 1, lengths, settings).length);
  const steps = maxSteps ?? starts.at(-1)!;

  let [current, batches] = [-1, [] as readonly (readonly number[])[]];
  const epochOf = (step: number) => starts.findLastIndex((start) => start <= step);
  const sum = (rows: readonly number[]) => rows.reduce((tokens, row) => tokens + lengths[row]!, 0);
  const epochTokens = lengths.reduce((tokens, length) => tokens + length, 0);
  const [lastBegin, lastEnd] = starts.slice(-2) as [number, number];
  // Only the last epoch may be left in the middle, by `maxSteps`.
  const unread = lastEnd === steps ? [] : batchesOf(starts.length - 2, lengths, settings).slice(steps - lastBegin);
  const tokens = (starts.length - 1) * epochTokens - unread.reduce((tokens, rows) => tokens + sum(rows), 0);
  return {
    ...{ steps, tokens },
    rowsOf(step) {
      const epoch = epochOf(step);
      if (epoch !== current) [current, batches] = [epoch, batchesOf(epoch, lengths, settings)];
      return batches[step - starts[epoch]!]!;
    },
    epochAfter(done) {
      if (done === 0) return 0;
      const epoch = epochOf(done - 1);
      return epoch + (done - starts[epoch]!) / (starts[epoch + 1]! - starts[epoch]!);
    },
  };
}

function batchesOf(epoch: number, lengths: readonly number[], settings: BatchSettings): number[][] {
  const { batchRows, batchTokens, shuffle, seed } = settings;
  const order = shuffle ? shuffled(lengths.length, seedFor(seed, purposes.order, epoch)) : [...lengths.keys()];
  const batches: number[][] = [];
  let tokens = 0;
  for (const row of order) {
    const batch = batches.at(-1);
    tokens += lengths[row]!;
    const fits = batchRows === null ? tokens <= batchTokens! : (batch?.length ?? 0) < batchRows;
    if (batch !== undefined && fits) batch.push(row);
    else {
      batches.push([row]);
      tokens = lengths[row]!;
    }
  }
  return batches;
}

/** A random order of indices, by Fisher and Yates. */
function shuffled(count: number, seed: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  const random = prng(seed);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
