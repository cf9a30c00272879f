// Settings that only make sense together. Each check throws `invalid_config` and names the variable.

import { LorikeetError } from './core/errors.ts';
import { precisionRefusal, type TrainingPrecision } from './core/training-precision.ts';

type Shares = { readonly autoMergeShare: number; readonly autoUnmergeShare: number };

/** Throws unless there is a gap between the thresholds: without one, adapters would be merged and unmerged in turns. */
export function assertGap({ autoMergeShare, autoUnmergeShare }: Shares): void {
  if (autoUnmergeShare < autoMergeShare) return;
  const param = 'LORIKEET_AUTO_UNMERGE_SHARE';
  const message = `${param} (${autoUnmergeShare}) must be less than LORIKEET_AUTO_MERGE_SHARE (${autoMergeShare}).`;
  throw new LorikeetError('invalid_config', { message, param });
}

/** Throws where the device that trains does not compute with the precision. */
export function assertPrecision(trainingDevice: string, precision: TrainingPrecision): void {
  const reason = precisionRefusal(trainingDevice, precision);
  if (reason === null) return;
  const param = 'LORIKEET_TRAINING_PRECISION';
  throw new LorikeetError('invalid_config', { message: `${param} is ${precision}, but ${reason}.`, param });
}
