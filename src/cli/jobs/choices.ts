// The flags of `lorikeet train` that are hyperparameters, and the body's fields that they become.

import { type Invocation, type Option, UsageError } from '../command.ts';

type Choice = Option & { readonly field: string; readonly kind: 'number' | 'word' | 'on' | 'off' | 'list' };

const number = (field: string, help: string): Choice => ({ field, kind: 'number', placeholder: 'n', help });

export const choices: Readonly<Record<string, Choice>> = {
  r: number('r', 'rank of the adapter (8)'),
  alpha: number('alpha', 'what the adapter adds is scaled by alpha / r (2 r)'),
  targets: {
    ...{ field: 'target_modules', kind: 'list', placeholder: 'list' },
    help: 'linears that get one, as q_proj,v_proj (all)',
  },
  epochs: number('n_epochs', 'passes over the file (by its size)'),
  'max-steps': number('max_steps', 'optimiser steps, instead of epochs'),
  'batch-size': number('batch_size', 'rows a step (at most 8, by the size of the file)'),
  'batch-tokens': number('batch_tokens', 'tokens a step, instead of rows'),
  lr: number('learning_rate', 'the highest learning rate (0.001)'),
  schedule: {
    ...{ field: 'schedule', kind: 'word', placeholder: 'constant|linear|cosine' },
    help: 'of the learning rate (linear)',
  },
  'warmup-steps': number('warmup_steps', 'steps in which the rate grows from zero'),
  'weight-decay': number('weight_decay', 'of AdamW (0)'),
  'max-grad-norm': number('max_grad_norm', 'gradients are scaled to at most this norm (1)'),
  dropout: number('lora_dropout', "of the adapter's input (0)"),
  'use-rslora': { field: 'use_rslora', kind: 'on', placeholder: null, help: 'scale by alpha / sqrt r' },
  seed: number('seed', 'the same seed and file give the same adapter'),
  'in-order': { field: 'shuffle', kind: 'off', placeholder: null, help: "rows in the file's order" },
  'max-tokens': number('max_tokens', 'longer rows are cut (1024)'),
  'eval-steps': number('eval_steps', 'steps between validations'),
  'checkpoint-steps': number('checkpoint_steps', 'steps between checkpoints'),
  patience: number('patience', 'validations without a better loss that end it early'),
  recompute: { field: 'recompute', kind: 'on', placeholder: null, help: 'less memory, more time' },
};

/** Replaces the names of hyperparameters in a server's message by the flags' names. */
export function inFlags(message: string): string {
  return message.replace(/method\.supervised\.hyperparameters\.(\w+)/g, (whole, field: string) => {
    const [flag] = Object.entries(choices).find(([, choice]) => choice.field === field) ?? [];
    return flag === undefined ? whole : `--${flag}`;
  });
}

/** Turns flags into hyperparameters: numbers, lists and switches. The server checks the values. Throws UsageError. */
export function hyperparametersOf({ flags }: Invocation): Record<string, unknown> {
  const entries = Object.entries(choices).flatMap(([flag, choice]) => {
    const value = flags[flag];
    return value === undefined ? [] : [[choice.field, fieldValue(flag, choice, value)] as const];
  });
  return Object.fromEntries(entries);
}

function fieldValue(flag: string, { kind }: Choice, value: unknown): unknown {
  if (kind === 'on') return value === true;
  if (kind === 'off') return value !== true;
  if (kind === 'list') return value === 'all-linear' ? value : String(value).split(',');
  return kind === 'word' ? value : numberOf(flag, value);
}

export function numberOf(flag: string, value: unknown): number {
  const number = Number(value);
  if (value === '' || Number.isNaN(number)) throw new UsageError(`--${flag} must be a number, not \`${value}\`.`);
  return number;
}
