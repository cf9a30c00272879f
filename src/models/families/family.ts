// A family of models: a row of everything that its files say differently from a Llama's.

import type { ModelShape, ModelTraits } from '../../core/base-model.ts';
import type { Fields } from '../fields.ts';

/** The fields of a shape that every family has. */
export type PlainShape = Omit<ModelShape, keyof ModelTraits>;

export type Family = {
  /** Each `model_type` of config.json, with the values that its config means where a key is left out. */
  readonly modelTypes: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Names of `architectures` in config.json. Only causal classes with an output head are supported. */
  readonly classes: readonly string[];
  /** Value of `general.architecture` in GGUF, which is also the prefix of its keys. */
  readonly gguf: string;
  /** Key of the gate's activation in config.json, and the only name that it may have. */
  readonly activation: readonly [key: string, name: string];
  /** q_proj, k_proj and v_proj have biases. */
  readonly qkvBias: boolean;
  /** q and k go through an RMS norm over each head before rotary positions. */
  readonly qkNorm: boolean;
  /** Traits of all models of the family. */
  readonly traits: ModelTraits;
  /** Traits of one model. Both functions refuse settings that would change the computation and are not supported. */
  fromConfig(config: Fields, shape: PlainShape): ModelTraits;
  fromGguf(metadata: Fields, shape: PlainShape): ModelTraits;
  /** Fields of config.json for a model that came without one: the inverse of `fromConfig`. */
  toConfig(shape: ModelShape): Readonly<Record<string, unknown>>;
};

export const llamaLike = {
  activation: ['hidden_act', 'silu'],
  qkvBias: false,
  qkNorm: false,
  traits: {},
} as const satisfies Partial<Family>;
