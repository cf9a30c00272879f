// How far a job has come, beside its parameters and moments. Plain values: a checkpoint holds them as JSON.

import type { TrainingMetrics } from '../protocol/training-messages.ts';

export type Progress = {
  /** Optimiser steps done. */
  readonly step: number;
  /** Prompt and completion tokens of those steps. */
  readonly trainedTokens: number;
  /** The validation with the lowest loss, and how many came after it. */
  readonly best: { readonly step: number; readonly validLoss: number } | null;
  readonly missed: number;
  /** The last step's figures where its validation is still to come. */
  readonly unvalidated: TrainingMetrics | null;
  /** What a validation that was interrupted has summed so far, over its first `rows` rows. */
  readonly validating: { readonly rows: number; readonly sum: number; readonly targets: number } | null;
};

export const noProgress: Progress = {
  ...{ step: 0, trainedTokens: 0, best: null, missed: 0 },
  ...{ unvalidated: null, validating: null },
};

/** After a validation of the last step. */
export function validated(progress: Progress, validLoss: number): Progress {
  const isBetter = progress.best === null || validLoss < progress.best.validLoss;
  return {
    ...progress,
    best: isBetter ? { step: progress.step, validLoss } : progress.best,
    missed: isBetter ? 0 : progress.missed + 1,
    unvalidated: null,
    validating: null,
  };
}
