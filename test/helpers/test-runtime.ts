// The runtime that a test computes on: LORIKEET_TEST_DEVICE says which device, the processor by default.
// `host-as-device` is the processor too, and says that it is a device: everything then takes a device's form, in memory
// that has views anywhere, as CUDA's. `host-as-anchored-device` has them at the start of memory only, as WebGPU.
// `host-as-device-in-blocks` keeps keys and values in blocks, as CUDA may; LORIKEET_TEST_IN_BLOCKS=on has CUDA do so.
// `host-as-bfloat16-device` and `host-as-float16-device` round what passes from one operator to the next, as a card
// with such floats.

import { parseDevice } from '../../src/core/device.ts';
import { serially } from '../../src/core/serially.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createOnnxRuntime, type OnnxRuntimeOptions } from '../../src/runtime/onnx-runtime.ts';
import type { Memory, Runtime } from '../../src/runtime/session.ts';
import { decodeOnnx } from './decode-onnx.ts';
import { type Rounded, roundedGraph } from './rounded-graph.ts';

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
    real: (/^host-as-(b?float16)-device$/.exec(named)?.[1] as Rounded | undefined) ?? 'float32',
  });
}

/** The processor, beside `device`: both must be of one library, since a process can hold but one with a provider. */
export const hostBeside = ({ library }: Runtime): Runtime => createOnnxRuntime({ library, threads: 1, spin: false });

export type Pretence = {
  readonly anchored?: boolean;
  readonly records?: boolean;
  readonly inBlocks?: boolean;
  /** What it computes with; float32 by default. */
  readonly real?: 'float32' | Rounded;
};

/** One run at a time, and none of them aside. */
export function asDevice(runtime: Runtime, pretence: Pretence): Runtime {
  const { anchored = false, records = false, inBlocks = false, real = 'float32' } = pretence;
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
      ...{ name: 'host', anchored, real, hasOperators: false, records, freeBytes: () => null },
      blocks: inBlocks ? 'own' : null,
    },
    allocate(type, elements) {
      const memory = runtime.allocate(type, elements);
      return anchored ? anchoredMemory(memory) : memory;
    },
    betweenRuns: (work) => inTurn(async () => work()),
    async session(model, { aside: _, ...options }) {
      const rounded = real === 'float32' ? model : encodeOnnx(roundedGraph(decodeOnnx(model), real));
      const session = await inTurn(() => runtime.session(rounded, options));
      return { ...session, run: (binding) => inTurn(() => session.run(binding)) };
    },
  };
}

/** Between the runs of decoders that are there already: memory is not allocated while anything runs. */
export const anotherDecoder = (...args: Parameters<typeof createDecoder>): Promise<Decoder> =>
  args[0].betweenRuns(() => createDecoder(...args));

/** Without a card WebGPU is computed in software, hundreds of times slower: storms there are short. */
export const isSlow = testDevice.kind === 'webgpu';
