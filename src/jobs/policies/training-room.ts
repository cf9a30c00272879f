// The share of the time that the engine leaves to a training job between its steps. A pause leaves cores alone: that
// helps where both compute on them, and where one of the two is on a device it would only delay tokens. Pure.

import { kindOf } from '../../core/device.ts';

type Devices = {
  /** As in core/device.ts: the engine's, and the trainer's. */
  readonly device: string;
  readonly trainingDevice: string;
  readonly trainingShare: number;
};

export const trainingRoom = ({ device, trainingDevice, trainingShare }: Devices): number =>
  kindOf(device) === 'cpu' && trainingDevice === 'cpu' ? trainingShare : 0;
