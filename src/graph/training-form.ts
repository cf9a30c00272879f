// The form of a training graph, and the names that a binding ties. Knows no operators.
//
// A batch is B lines of T tokens, R = B * T rows. A line holds one text or several, each with a segment number of its
// own: a token sees only earlier tokens of its segment. S targets are rows whose next token counts.

import type { FusedModule, LinearSize, TargetModule } from '../core/adapter.ts';
import type { TrainingPrecision } from '../core/training-precision.ts';
import type { GraphTarget } from './target.ts';

/** What a pair is trained beside: a linear, or several linears whose rows are one module. */
export type TrainedModule = TargetModule | FusedModule;

/** One pair beside one module. `scaling` is alpha / r, or alpha / sqrt(r). */
export type TrainTarget = {
  readonly layer: number;
  readonly module: TrainedModule;
  readonly r: number;
  readonly scaling: number;
};

export type TrainingForm = {
  /** At least one, without duplicates; `lm_head` is refused. */
  readonly targets: readonly TrainTarget[];
  /** Rows of the rotary tables: the longest text of a line. */
  readonly positions: number;
  /** Whether the graph has the input `dropout`. */
  readonly dropout: boolean;
  /** False for validation: only loss and log-probabilities. */
  readonly backward: boolean;
  /** Whether the backward pass computes layers again, so that only a few activations of each stay in memory. */
  readonly recompute: boolean;
  /** Where the graph is computed; the host by default. */
  readonly on?: GraphTarget['on'];
  /** Float type of products; float32 by default. bfloat16 is a device's alone. */
  readonly precision?: TrainingPrecision;
};

/**
 * Names of inputs and outputs. Outputs that are not bound are not computed. On a device, int64 is what `integersFor`
 * gives.
 */
export const trainingNames = {
  /** int64 [B, T] */
  tokens: 'tokens',
  /** int64 [B, T]: positions of tokens within their text, from 0. */
  positions: 'positions',
  /** int64 [B, T]: the text of its line that a token belongs to. Padding is a text too, of any number not in use. */
  segments: 'segments',
  /** int64 [S]: rows of R. */
  sampled: 'sampled',
  /** int64 [S]: the token that follows each. */
  labels: 'labels',
  /** float32 [S]: each target's share of the loss; 1 / (targets of the optimiser step) makes the mean. */
  lossWeights: 'loss_weights',
  /** float32 [dropoutLength(...)]: 0, or 1 / (1 - p) where an input is kept. Only with `dropout`. */
  dropout: 'dropout',
  /** float32 [r, in] and [out, r], as in PEFT. */
  a: (layer: number, module: TrainedModule) => `lora_a.${layer}.${module}`,
  b: (layer: number, module: TrainedModule) => `lora_b.${layer}.${module}`,

  /** Output, float32 [1]: the sum of lossWeights * -logprobs. */
  loss: 'loss',
  /** Output, float32 [S]: natural logarithm of each label's probability. */
  logprobs: 'logprobs',
  /** Outputs, only with `backward`: derivatives of `loss`, in the shapes of A and B. */
  gradA: (layer: number, module: TrainedModule) => `grad.lora_a.${layer}.${module}`,
  gradB: (layer: number, module: TrainedModule) => `grad.lora_b.${layer}.${module}`,
} as const;

/** A batch's integers in the type that a graph reads, positions excepted: WebGPU computes with int32 alone. */
export const integersFor = (on: GraphTarget['on'], values: BigInt64Array<ArrayBuffer>) =>
  on === 'host' ? values : Int32Array.from(values, Number);

/** Numbers of parameters of one target, in A and in B. */
export const targetParameters = ({ r }: TrainTarget, size: LinearSize) => ({ a: r * size.in, b: size.out * r });
