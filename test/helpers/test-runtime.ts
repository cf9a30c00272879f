// The runtime that a test computes on: LORIKEET_TEST_DEVICE says which device, the processor by default.

import { parseDevice } from '../../src/core/device.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import type { Runtime } from '../../src/runtime/session.ts';

export const testDevice = parseDevice(process.env.LORIKEET_TEST_DEVICE || 'cpu');

export const testRuntime = (): Runtime =>
  createOnnxRuntime({
    library: process.env.LORIKEET_ORT_LIBRARY || null,
    threads: 1,
    spin: false,
    device: testDevice,
    cudaDir: process.env.LORIKEET_TEST_CUDA_DIR || null,
  });

/** Without a card WebGPU is computed in software, hundreds of times slower: storms there are short. */
export const isSlow = testDevice.kind === 'webgpu';
