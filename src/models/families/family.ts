// What a family of models is here: a row of what its files say differently from a Llama's.

import type { ModelShape, ModelTraits } from '../../core/base-model.ts';
import type { Fields } from '../fields.ts';

/** A shape as far as every family has it. */
export type PlainShape = Omit<ModelShape, keyof ModelTraits>;

export type Family = {
  /** Each `model_type` of config.json, and what its config means by leaving a key out. */
  readonly modelTypes: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** `architectures` in config.json; the class must be the causal one, with an output head. */
  readonly classes: readonly string[];
  /** `general.architecture` of GGUF, and the prefix of its keys. */
  readonly gguf: string;
  /** Where config.json names the gate's activation, and the only one that it may name. */
  readonly activation: readonly [key: string, name: string];
  /** q_proj, k_proj and v_proj have a bias. */
  readonly qkvBias: boolean;
  /** q and k go through an RMS norm over each head before rotary. */
  readonly qkNorm: boolean;
  /** Of all its models. */
  readonly traits: ModelTraits;
  /** Of one model. Both refuse what would have to be computed and is not. */
  fromConfig(config: Fields, shape: PlainShape): ModelTraits;
  fromGguf(metadata: Fields, shape: PlainShape): ModelTraits;
  /** Keys of config.json for a model that came without one: the way back from `fromConfig`. */
  toConfig(shape: ModelShape): Readonly<Record<string, unknown>>;
};

export const llamaLike = {
  activation: ['hidden_act', 'silu'],
  qkvBias: false,
  qkNorm: false,
  traits: {},
} as const satisfies Partial<Family>;
