// Hyperparameters of a training: OpenAI's names, and LoRA's own beside them. Every number has a lower and an upper
// bound. 'auto' lets the server choose by the size of the data.

import { type TSchema, Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';

const auto = Type.Literal('auto');
const choice = <T extends TSchema>(schema: T, title: string, description: string) =>
  Type.Optional(Type.Union([auto, schema], { title: `${title} or 'auto'`, description, default: 'auto' }));
const count = (maximum: number, description: string, minimum = 1) =>
  choice(Type.Integer({ minimum, maximum }), `an integer from ${minimum} to ${maximum}`, description);
const above = (maximum: number, description: string) =>
  choice(Type.Number({ exclusiveMinimum: 0, maximum }), `a number above 0, at most ${maximum}`, description);
const upTo = (maximum: number, description: string) =>
  choice(Type.Number({ minimum: 0, maximum }), `a number from 0 to ${maximum}`, description);
const flag = (description: string) => choice(Type.Boolean(), 'a boolean', description);

/** PEFT's names of the linears. */
const module = Type.Enum(['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']);

export const HyperparametersBody = Type.Object(
  {
    n_epochs: count(limits.trainingEpochs, 'Passes over the file; excludes max_steps.'),
    max_steps: count(limits.trainingSteps, 'Optimiser steps; excludes n_epochs.'),
    batch_size: count(limits.trainingBatchRows, 'Rows an optimiser step; excludes batch_tokens.'),
    batch_tokens: count(limits.trainingBatchTokens, 'Tokens an optimiser step, rows taken whole.'),
    learning_rate: above(limits.trainingLearningRate, 'The highest one; auto: 0.001.'),
    learning_rate_multiplier: above(limits.trainingLearningRateMultiplier, 'Times the rate of auto.'),
    schedule: choice(
      Type.Enum(['constant', 'linear', 'cosine']),
      "'constant', 'linear', 'cosine'",
      'After the warm-up; auto: linear to zero.',
    ),
    warmup_steps: count(limits.trainingSteps, 'Steps in which the rate grows from zero.', 0),
    weight_decay: upTo(limits.trainingWeightDecay, 'AdamW; auto: 0.'),
    max_grad_norm: Type.Optional(
      Type.Union([auto, Type.Number({ minimum: 0, maximum: limits.trainingGradNorm })], {
        title: `a number from 0 to ${limits.trainingGradNorm} or 'auto'`,
        description: 'Gradients are scaled to at most this norm; 0: never; auto: 1.',
      }),
    ),
    r: count(limits.trainingRank, 'Rank; auto: 8.'),
    alpha: above(limits.trainingAlpha, 'What the adapter adds is scaled by alpha / r; auto: 2 r.'),
    target_modules: Type.Optional(
      Type.Union(
        [auto, Type.Literal('all-linear'), Type.Array(module, { minItems: 1, maxItems: 7, uniqueItems: true })],
        {
          title: "'all-linear', 'auto' or a list of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
          description:
            'Linears that get an adapter; auto: all. Those that the base model has as one module are chosen together.',
          default: 'auto',
        },
      ),
    ),
    rank_pattern: Type.Optional(
      Type.Record(
        Type.String({ minLength: 1, maxLength: limits.adapterPatternChars }),
        Type.Integer({ minimum: 1, maximum: limits.trainingRank }),
        { maxProperties: limits.adapterPatterns, description: "Other ranks for some modules, by PEFT's rule." },
      ),
    ),
    use_rslora: flag('Scale by alpha / sqrt r; auto: false.'),
    lora_dropout: upTo(limits.trainingDropout, "Of the adapter's input; auto: 0."),
    seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, description: 'As the seed of the job.' })),
    shuffle: flag('Another order of rows each pass; auto: true.'),
    max_tokens: count(limits.trainingRowTokens, "Longer rows are cut; auto: 1024, at most the model's context."),
    eval_steps: count(limits.trainingSteps, 'Steps between validations; auto: a tenth of all.'),
    checkpoint_steps: count(limits.trainingSteps, 'Steps between checkpoints; auto: a tenth of all.'),
    patience: count(10_000, 'Validations in a row without a better loss that end the job; auto: never.'),
    recompute: flag('Less memory, more time; auto: false.'),
  },
  { additionalProperties: false },
);
export type HyperparametersBody = Type.Static<typeof HyperparametersBody>;
