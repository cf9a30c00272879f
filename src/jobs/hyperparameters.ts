// Completes a caller's choice of hyperparameters. The defaults suit small data: hundreds to some thousands of short
// rows, on a CPU. Pure.

import { type TargetModule, targetModules } from '../core/adapter.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Hyperparameters } from '../protocol/training-messages.ts';
import type { HyperparameterChoices } from './training-jobs.ts';

/** What the defaults depend on. */
export type TrainingData = {
  readonly rows: number;
  /** Tokens of the base model's context. */
  readonly contextTokens: number;
  /** The seed where the caller chose none. */
  readonly seed: number;
};

/** The linears of a layer. A trained lm_head would be as large as the embedding, and is seldom worth it. */
export const trainableModules: readonly TargetModule[] = targetModules.filter((module) => module !== 'lm_head');

/** Five times PEFT's usual rate for models of billions of parameters: a small model with few steps needs more. */
const learningRate = 1e-3;
/** Steps to aim at, which decide the epochs: a small file is passed over several times, a large one once. */
const stepsWanted = 300;
const epochsMost = 10;
/** Rows of an update: 8 are calm enough, and a file of 32 rows should still give more than 4 updates an epoch. */
const batchRowsMost = 8;
const batchesWanted = 16;
/** Number of validations, and of checkpoints, over the whole job. */
const milestones = 10;
const rowTokensMost = 1024;

/** Throws `invalid_parameter` for choices that exclude each other. */
export function completeHyperparameters(choices: HyperparameterChoices, data: TrainingData): Hyperparameters {
  refusePairs(choices);
  const size = sizeOf(choices, data);
  const milestone = Math.max(1, Math.floor(size.steps / milestones));
  const r = choices.r ?? 8;
  return {
    epochs: size.epochs,
    maxSteps: size.maxSteps,
    batchRows: size.batchRows,
    batchTokens: size.batchTokens,
    learningRate: choices.learningRate ?? learningRate * (choices.learningRateMultiplier ?? 1),
    schedule: choices.schedule ?? 'linear',
    // Three per cent of the steps: the first updates of Adam are the least certain ones.
    warmupSteps: choices.warmupSteps ?? Math.min(Math.floor(size.steps * 0.03), 100),
    weightDecay: choices.weightDecay ?? 0,
    maxGradNorm: choices.maxGradNorm === undefined ? 1 : choices.maxGradNorm,
    r,
    loraAlpha: choices.loraAlpha ?? 2 * r,
    targetModules: choices.targetModules ?? trainableModules,
    rankPattern: choices.rankPattern ?? {},
    useRslora: choices.useRslora ?? false,
    loraDropout: choices.loraDropout ?? 0,
    seed: choices.seed ?? data.seed,
    shuffle: choices.shuffle ?? true,
    maxTokens: Math.min(choices.maxTokens ?? rowTokensMost, data.contextTokens),
    evalSteps: choices.evalSteps ?? milestone,
    checkpointSteps: choices.checkpointSteps ?? milestone,
    patience: choices.patience ?? null,
    recompute: choices.recompute ?? false,
  };
}

type Size = Pick<Hyperparameters, 'epochs' | 'maxSteps' | 'batchRows' | 'batchTokens'> & {
  /** Steps of the whole job; an estimate where tokens limit a batch. */
  readonly steps: number;
};

function sizeOf(choices: HyperparameterChoices, { rows }: TrainingData): Size {
  const { epochs, maxSteps = null, batchTokens = null } = choices;
  const auto = Math.min(batchRowsMost, Math.max(1, Math.floor(rows / batchesWanted)));
  const batchRows = batchTokens === null ? (choices.batchRows ?? auto) : null;
  const perEpoch = Math.ceil(rows / (batchRows ?? auto));
  if (maxSteps !== null) return { epochs: null, maxSteps, batchRows, batchTokens, steps: maxSteps };
  const passes = epochs ?? Math.min(epochsMost, Math.max(1, Math.ceil(stepsWanted / perEpoch)));
  return { epochs: passes, maxSteps: null, batchRows, batchTokens, steps: passes * perEpoch };
}

type Names = Readonly<Partial<Record<keyof HyperparameterChoices, string>>>;

/** Choices that exclude each other, with callers' names for them. */
const exclusivePairs: readonly Names[] = [
  { epochs: 'n_epochs', maxSteps: 'max_steps' },
  { batchRows: 'batch_size', batchTokens: 'batch_tokens' },
  { learningRate: 'learning_rate', learningRateMultiplier: 'learning_rate_multiplier' },
];

function refusePairs(choices: HyperparameterChoices): void {
  const isChosen = (name: string) => (choices[name as keyof HyperparameterChoices] ?? null) !== null;
  for (const pair of exclusivePairs) {
    const chosen = Object.entries(pair).filter(([name]) => isChosen(name));
    const [first, second] = chosen.map(([, written]) => written);
    if (first === undefined || second === undefined) continue;
    throw new LorikeetError('invalid_parameter', {
      message: `${first} and ${second} exclude each other.`,
      param: second,
    });
  }
  const pattern = Object.entries(choices.rankPattern ?? {});
  if (pattern.length > limits.adapterPatterns) {
    const message = `rank_pattern has more than ${limits.adapterPatterns} entries.`;
    throw new LorikeetError('invalid_parameter', { message, param: 'rank_pattern' });
  }
}
