// What computes bfloat16 in a test: the card that the tests run on, or the processor that rounds as one.

import type { Runtime } from '../../src/runtime/session.ts';
import { asDevice, testDevice } from './test-runtime.ts';

/** null on a device that has no bfloat16. */
export function bfloat16Device(opened: Runtime): Runtime | null {
  if (testDevice.kind === 'webgpu') return null;
  return testDevice.kind === 'cuda' ? opened : asDevice(opened, { real: 'bfloat16' });
}
