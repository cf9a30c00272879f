// The share of time that the engine leaves to a training job between its steps. A pause frees cores, which helps where
// both compute on the processor. Where either computes on another device, a pause would only delay tokens. Pure.

import { kindOf } from '../../core/device.ts';

type Devices = {
  /** Devices of the engine and of the trainer, as core/device.ts names them. */
  readonly device: string;
  readonly trainingDevice: string;
  readonly trainingShare: number;
};

export const trainingRoom = ({ device, trainingDevice, trainingShare }: Devices): number =>
  kindOf(device) === 'cpu' && trainingDevice === 'cpu' ? trainingShare : 0;
