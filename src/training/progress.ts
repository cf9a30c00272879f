// Progress of a job, beside its parameters and moments. Plain values, which a checkpoint holds as JSON.

import type { TrainingMetrics } from '../protocol/training-messages.ts';

export type Progress = {
  /** Optimiser steps done. */
  readonly step: number;
  /** Prompt and completion tokens of those steps. */
  readonly trainedTokens: number;
  /** The validation with the lowest loss so far, null before the first; `missed` counts those after it. */
  readonly best: { readonly step: number; readonly validLoss: number } | null;
  readonly missed: number;
  /** The last step's figures while its validation is still to come; null otherwise. */
  readonly unvalidated: TrainingMetrics | null;
  /** Sums of an interrupted validation over its first `rows` rows; null otherwise. */
  readonly validating: { readonly rows: number; readonly sum: number; readonly targets: number } | null;
};

export const noProgress: Progress = {
  ...{ step: 0, trainedTokens: 0, best: null, missed: 0 },
  ...{ unvalidated: null, validating: null },
};

/** The progress after a validation of the last step. */
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
