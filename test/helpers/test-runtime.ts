// The runtime that a test computes on: LORIKEET_TEST_DEVICE says which device, the processor by default.
// `host-as-device` is the processor too, and says that it is a device: everything then takes a device's form, in memory
// that has views anywhere, as CUDA's.

import { parseDevice } from '../../src/core/device.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import type { Runtime } from '../../src/runtime/session.ts';

const named = process.env.LORIKEET_TEST_DEVICE || 'cpu';
const isPretended = named === 'host-as-device';
export const testDevice = parseDevice(isPretended ? 'cpu' : named);
/** For what opens it by itself, in another process perhaps, where nothing is pretended. */
export const testDeviceName = testDevice.kind === 'cuda' ? `cuda:${testDevice.index}` : testDevice.kind;
export const testCudaDir = process.env.LORIKEET_TEST_CUDA_DIR || '/nowhere';

export function testRuntime(): Runtime {
  const runtime = createOnnxRuntime({
    library: process.env.LORIKEET_ORT_LIBRARY || null,
    threads: 1,
    spin: false,
    device: testDevice,
    cudaDir: testCudaDir,
  });
  return isPretended ? asDevice(runtime) : runtime;
}

export const asDevice = (runtime: Runtime): Runtime => ({
  ...runtime,
  device: { name: 'host', anchored: false, freeBytes: () => null },
});

/** Without a card WebGPU is computed in software, hundreds of times slower: storms there are short. */
export const isSlow = testDevice.kind === 'webgpu';
