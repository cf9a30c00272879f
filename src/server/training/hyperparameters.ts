// Converts hyperparameters from HTTP's names to those of jobs, and back. 'auto' leaves a choice to the server.

import type { TargetModule } from '../../core/adapter.ts';
import type { HyperparameterChoices } from '../../jobs/training-jobs.ts';
import type { Hyperparameters } from '../../protocol/training-messages.ts';
import type { HyperparametersBody } from '../schemas/hyperparameters.ts';

const names = {
  n_epochs: 'epochs',
  max_steps: 'maxSteps',
  batch_size: 'batchRows',
  batch_tokens: 'batchTokens',
  learning_rate: 'learningRate',
  schedule: 'schedule',
  warmup_steps: 'warmupSteps',
  weight_decay: 'weightDecay',
  max_grad_norm: 'maxGradNorm',
  r: 'r',
  alpha: 'loraAlpha',
  target_modules: 'targetModules',
  rank_pattern: 'rankPattern',
  use_rslora: 'useRslora',
  lora_dropout: 'loraDropout',
  seed: 'seed',
  shuffle: 'shuffle',
  max_tokens: 'maxTokens',
  eval_steps: 'evalSteps',
  checkpoint_steps: 'checkpointSteps',
  patience: 'patience',
  recompute: 'recompute',
} as const satisfies Partial<Record<keyof HyperparametersBody, keyof Hyperparameters>>;

const allLinear: readonly TargetModule[] = [
  ...(['q_proj', 'k_proj', 'v_proj', 'o_proj'] as const),
  ...(['gate_proj', 'up_proj', 'down_proj'] as const),
];

export function choicesOf(body: HyperparametersBody): HyperparameterChoices {
  const { learning_rate_multiplier: multiplier } = body;
  const chosen = Object.entries(names).flatMap(([written, name]) => {
    const value = body[written as keyof typeof names];
    if (value === undefined || value === 'auto') return [];
    const isNever = name === 'maxGradNorm' && value === 0;
    return [[name, isNever ? null : value === 'all-linear' ? allLinear : value] as const];
  });
  return {
    ...(Object.fromEntries(chosen) as HyperparameterChoices),
    ...(typeof multiplier === 'number' ? { learningRateMultiplier: multiplier } : {}),
  };
}

/** All hyperparameters of a job. Those that are null, since another of their pair decided, are left out. */
export function hyperparametersJson(hyperparameters: Hyperparameters): Record<string, unknown> {
  const entries = Object.entries(names).map(([written, name]) => [written, hyperparameters[name]] as const);
  const chosen = Object.fromEntries(entries.filter(([, value]) => value !== null));
  return { ...chosen, max_grad_norm: hyperparameters.maxGradNorm ?? 0 };
}
