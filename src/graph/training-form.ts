// What a training graph is asked for, and the names that a binding ties. Knows no operators.
//
// A batch is B lines of T tokens, R = B * T rows. A line holds one text or several, each with a segment number of its
// own: a token sees earlier tokens of its segment alone. S targets are the rows whose next token counts.

import type { FusedModule, LinearSize, TargetModule } from '../core/adapter.ts';
import type { GraphTarget } from './target.ts';

/** What gets a pair: a linear, or several whose rows are one module. */
export type TrainedModule = TargetModule | FusedModule;

/** One pair beside one module. `scaling` is alpha / r, or alpha / sqrt(r). */
export type TrainTarget = {
  readonly layer: number;
  readonly module: TrainedModule;
  readonly r: number;
  readonly scaling: number;
};

export type TrainingForm = {
  /** At least one, none twice; `lm_head` is refused. */
  readonly targets: readonly TrainTarget[];
  /** Rows of the rotary tables: no text of a line may be longer. */
  readonly positions: number;
  /** The graph has the input `dropout`. */
  readonly dropout: boolean;
  /** False: loss and log-probabilities only, for validation. */
  readonly backward: boolean;
  /** Layers are computed again in the backward pass: a few activations a layer stay in memory instead of all. */
  readonly recompute: boolean;
  /** What computes it; the host by default. Floats are float32 on either. */
  readonly on?: GraphTarget['on'];
};

/** Names that a binding uses; outputs that nobody binds are not made. `integersFor` says what int64 is on a device. */
export const trainingNames = {
  /** int64 [B, T] */
  tokens: 'tokens',
  /** int64 [B, T]: places of tokens within their text, from 0. */
  positions: 'positions',
  /** int64 [B, T]: which text of its line a token belongs to; padding is a text too, of any number not in use. */
  segments: 'segments',
  /** int64 [S]: rows of R. */
  sampled: 'sampled',
  /** int64 [S]: the token that follows each. */
  labels: 'labels',
  /** float32 [S]: each target's share of the loss; 1 / (targets of the optimiser step) makes the mean. */
  lossWeights: 'loss_weights',
  /** float32 [dropoutLength(...)]: 0, or 1 / (1 - p) where the input is kept. With `dropout` alone. */
  dropout: 'dropout',
  /** float32 [r, in] and [out, r], as PEFT has them. */
  a: (layer: number, module: TrainedModule) => `lora_a.${layer}.${module}`,
  b: (layer: number, module: TrainedModule) => `lora_b.${layer}.${module}`,

  /** Output, float32 [1]: the sum of lossWeights * -logprobs. */
  loss: 'loss',
  /** Output, float32 [S]: natural logarithm of each label's probability. */
  logprobs: 'logprobs',
  /** Outputs, with `backward` alone: derivatives of `loss`, in the shapes of A and B. */
  gradA: (layer: number, module: TrainedModule) => `grad.lora_a.${layer}.${module}`,
  gradB: (layer: number, module: TrainedModule) => `grad.lora_b.${layer}.${module}`,
} as const;

/** Batches in the integers that a graph reads, but for positions: WebGPU computes with int32 alone. */
export const integersFor = (on: GraphTarget['on'], values: BigInt64Array<ArrayBuffer>) =>
  on === 'host' ? values : Int32Array.from(values, Number);

/** Parameters of one target: floats of A and of B. */
export const targetParameters = ({ r }: TrainTarget, size: LinearSize) => ({ a: r * size.in, b: size.out * r });
