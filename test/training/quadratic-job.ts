// The trainer over an objective without a model: each label pulls the values to a point of its own. Jobs take
// milliseconds, so that they can be interrupted at every micro-batch.

import { prng } from '../../src/core/prng.ts';
import type { Hyperparameters, TrainerEvent } from '../../src/protocol/training-messages.ts';
import { createMoments } from '../../src/training/adam-w.ts';
import { planBatches } from '../../src/training/batches.ts';
import { openCheckpoints } from '../../src/training/checkpoint.ts';
import type { MicroBatch } from '../../src/training/micro-batch.ts';
import type { Objective } from '../../src/training/objective.ts';
import { noProgress } from '../../src/training/progress.ts';
import type { TokenRow } from '../../src/training/token-row.ts';
import { Trainer } from '../../src/training/trainer.ts';
import type { WriteFile } from '../../src/training/write-folder.ts';
import { defaultHyperparameters } from './hyperparameters.ts';

const count = 5;

/** -logprob of a label: half its squared distance from the values. */
const distances = (values: Float32Array, label: bigint) => {
  const random = prng(Number(label));
  return Array.from(values, (value) => value - random());
};

function quadratic(values: Float32Array): Objective {
  const loss = (label: bigint) => 0.5 * distances(values, label).reduce((sum, distance) => sum + distance ** 2, 0);
  return {
    async gradients({ labels }: MicroBatch, weight, seed, gradients) {
      const noise = prng(seed)() * 1e-3;
      for (const label of labels) {
        for (const [i, distance] of distances(values, label).entries()) gradients[i]! += weight * (distance + noise);
      }
      return labels.reduce((sum, label) => sum + weight * loss(label), 0);
    },
    logprobs: async ({ labels }) => Float32Array.from(labels, (label) => -loss(label)),
  };
}

const row = (length: number, first: number): TokenRow => ({
  tokens: Int32Array.from({ length }, (_, i) => first + i),
  counted: Uint8Array.from({ length }, (_, i) => (i === 0 ? 0 : 1)),
});

export const rows = Array.from({ length: 11 }, (_, index) => row(3 + (index % 4), 10 * index));
const validationRows = Array.from({ length: 34 }, (_, index) => row(2, 500 + 10 * index));

export type JobOptions = {
  readonly settings?: Partial<Hyperparameters>;
  readonly validates?: boolean;
  /** Called after each micro-batch. */
  readonly between?: () => Promise<void>;
  readonly write?: WriteFile;
  readonly objective?: (made: Objective) => Objective;
};

/** A trainer as a fresh process would make it: from the last checkpoint in `folder`. */
export async function openJob(folder: string, options: JobOptions = {}) {
  const { validates = false, between = async () => {}, write, objective = (made) => made } = options;
  const settings = { ...defaultHyperparameters, shuffle: true, ...options.settings };
  const checkpoints = await openCheckpoints(folder, JSON.stringify(settings), write);
  const resumed = await checkpoints.latest();
  const values = new Float32Array(count);
  if (resumed !== null) values.set(new Float32Array(new Uint8Array(resumed.adapter.weights).buffer));
  const events: TrainerEvent[] = [];
  const lengths = rows.map(({ tokens }) => tokens.length);
  let now = 0;
  const trainer = new Trainer(
    {
      ...{ settings, rows, validationRows: validates ? validationRows : null, checkpoints },
      batches: planBatches(lengths, settings),
      objective: objective(quadratic(values)),
      encodeAdapter: (of) => ({ config: Uint8Array.of(1), weights: new Uint8Array(of.slice().buffer) }),
      ...{ microBatchTokens: 12, threads: 1 },
      clock: { now: () => 0, monotonic: () => now++ },
      emit: (event) => events.push(event),
      between,
    },
    { values, moments: resumed?.moments ?? createMoments(count) },
    resumed?.progress ?? noProgress,
    resumed !== null,
  );
  return { trainer, values, events, checkpoints, resumedStep: resumed?.progress.step ?? 0 };
}
