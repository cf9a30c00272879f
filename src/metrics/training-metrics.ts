// Metrics of training: jobs, tokens, steps, and restarts of trainers.

import type { MetricsRegistry } from './registry.ts';

/** Values that are read at a scrape. */
export type TrainingReading = {
  readonly byState: Readonly<Record<string, number>>;
  readonly trainerRestarts: number;
};

export type TrainingMetrics = {
  readTraining(read: () => TrainingReading): void;
  /** Counts an optimiser step of a job. */
  trainingStepTaken(step: { readonly tokens: number; readonly tokensPerSecond: number }): void;
};

const stepSeconds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

export function trainingMetrics(registry: MetricsRegistry): TrainingMetrics {
  const tokens = registry.counter({
    name: 'lorikeet_trained_tokens_total',
    help: 'Tokens that training jobs have learnt from, repeated steps included',
    labels: [],
  });
  const seconds = registry.histogram({
    name: 'lorikeet_training_step_seconds',
    help: 'Duration of an optimiser step',
    buckets: stepSeconds,
  });
  return {
    readTraining(read) {
      registry.readings({
        name: 'lorikeet_training_jobs',
        help: 'Training jobs by state',
        label: 'state',
        read: () => read().byState,
      });
      registry.reading({
        name: 'lorikeet_trainer_restarts_total',
        help: 'Times that a trainer was started again after one died',
        type: 'counter',
        read: () => read().trainerRestarts,
      });
    },
    trainingStepTaken(step) {
      tokens.add({}, step.tokens);
      if (step.tokensPerSecond > 0) seconds(step.tokens / step.tokensPerSecond);
    },
  };
}
