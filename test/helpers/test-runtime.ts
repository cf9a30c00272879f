// The runtime that a test computes on: LORIKEET_TEST_DEVICE says which device, the processor by default.
// `host-as-device` is the processor too, and says that it is a device: everything then takes a device's form, in memory
// that has views anywhere, as CUDA's. `host-as-anchored-device` has them at the start of memory only, as WebGPU.
// `host-as-device-in-blocks` keeps keys and values in blocks, as CUDA may; LORIKEET_TEST_IN_BLOCKS=on has CUDA do so.

import { parseDevice } from '../../src/core/device.ts';
import { serially } from '../../src/core/serially.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { createOnnxRuntime, type OnnxRuntimeOptions } from '../../src/runtime/onnx-runtime.ts';
import type { Memory, Runtime } from '../../src/runtime/session.ts';

const named = process.env.LORIKEET_TEST_DEVICE || 'cpu';
const pretended = named.startsWith('host-as-');
export const testDevice = parseDevice(pretended ? 'cpu' : named);
/** For what opens it by itself, in another process perhaps, where nothing is pretended. */
export const testDeviceName = testDevice.kind === 'cuda' ? `cuda:${testDevice.index}` : testDevice.kind;
export const testCudaDir = process.env.LORIKEET_TEST_CUDA_DIR || '/nowhere';

export function testRuntime(options: Partial<OnnxRuntimeOptions> = {}): Runtime {
  const runtime = createOnnxRuntime({
    library: process.env.LORIKEET_ORT_LIBRARY || null,
    threads: 1,
    spin: false,
    device: testDevice,
    cudaDir: testCudaDir,
    inBlocks: process.env.LORIKEET_TEST_IN_BLOCKS === 'on',
    ...options,
  });
  if (!pretended) return runtime;
  return asDevice(runtime, {
    anchored: named === 'host-as-anchored-device',
    inBlocks: named === 'host-as-device-in-blocks',
  });
}

/** The processor, beside `device`: both must be of one library, since a process can hold but one with a provider. */
export const hostBeside = ({ library }: Runtime): Runtime => createOnnxRuntime({ library, threads: 1, spin: false });

export type Pretence = { readonly anchored?: boolean; readonly records?: boolean; readonly inBlocks?: boolean };

/** One run at a time, and none of them aside. */
export function asDevice(runtime: Runtime, { anchored = false, records = false, inBlocks = false }: Pretence): Runtime {
  const inTurn = serially();
  const anchoredMemory = (memory: Memory): Memory => ({
    ...memory,
    view(start, shape) {
      if (start !== 0) throw new Error('Views of this device begin at the start of their memory.');
      return memory.view(start, shape);
    },
  });
  return {
    ...runtime,
    device: {
      ...{ name: 'host', anchored, real: 'float32', hasOperators: false, records, freeBytes: () => null },
      blocks: inBlocks ? 'own' : null,
    },
    allocate(type, elements) {
      const memory = runtime.allocate(type, elements);
      return anchored ? anchoredMemory(memory) : memory;
    },
    betweenRuns: (work) => inTurn(async () => work()),
    async session(model, { aside: _, ...options }) {
      const session = await inTurn(() => runtime.session(model, options));
      return { ...session, run: (binding) => inTurn(() => session.run(binding)) };
    },
  };
}

/** Between the runs of decoders that are there already: memory is not allocated while anything runs. */
export const anotherDecoder = (...args: Parameters<typeof createDecoder>): Promise<Decoder> =>
  args[0].betweenRuns(() => createDecoder(...args));

/** Without a card WebGPU is computed in software, hundreds of times slower: storms there are short. */
export const isSlow = testDevice.kind === 'webgpu';
