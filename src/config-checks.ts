// Settings that only make sense together. Each check throws `invalid_config` and names the variable.

import { kindOf } from './core/device.ts';
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

type DevicePrecision = 'float32' | 'float16' | 'bfloat16';

/** Why a device does not serve with a precision, as the end of a sentence. */
const devicePrecisionRefusals: Readonly<
  Record<ReturnType<typeof kindOf>, Readonly<Partial<Record<DevicePrecision, string>>>>
> = {
  cpu: { float16: 'the processor computes with float32', bfloat16: 'the processor computes with float32' },
  cuda: { float32: 'attention on cuda has float16 and bfloat16 only' },
  webgpu: { bfloat16: 'webgpu has float32 and float16 only' },
};

/** Throws where the device that serves does not compute with the precision. */
export function assertDevicePrecision(device: string, precision: DevicePrecision | null): void {
  const reason = precision && devicePrecisionRefusals[kindOf(device)][precision];
  refuseFor('LORIKEET_DEVICE_PRECISION', precision, reason);
}

/** Throws where the device that trains does not compute with the precision. */
export const assertTrainingPrecision = (device: string, precision: TrainingPrecision): void =>
  refuseFor('LORIKEET_TRAINING_PRECISION', precision, precisionRefusal(device, precision));

function refuseFor(param: string, value: string | null, reason: string | null | undefined): void {
  if (reason) throw new LorikeetError('invalid_config', { message: `${param} is ${value}, but ${reason}.`, param });
}
