// The runtime that a test computes on. LORIKEET_TEST_DEVICE names its device; the default is the processor.
// `host-as-device` is the processor pretending to be a device: everything takes a device's form, in memory whose views
// may start anywhere, as in CUDA's. With `host-as-anchored-device` views start at the memory's start, as in WebGPU.
// `host-as-device-in-blocks` keeps keys and values in blocks, as CUDA may; with CUDA, LORIKEET_TEST_IN_BLOCKS=on does
// so. `host-as-bfloat16-device` and `host-as-float16-device` round values between two operators, as a card with such
// floats does. LORIKEET_TEST_CARD_REAL=bfloat16 has CUDA compute in that type.

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
/** The device for code that opens it itself, perhaps in another process, where nothing is pretended. */
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
    cardReal: process.env.LORIKEET_TEST_CARD_REAL === 'bfloat16' ? 'bfloat16' : 'float16',
    ...options,
  });
  if (!pretended) return runtime;
  return asDevice(runtime, {
    anchored: named === 'host-as-anchored-device',
    inBlocks: named === 'host-as-device-in-blocks',
    real: (/^host-as-(b?float16)-device$/.exec(named)?.[1] as Rounded | undefined) ?? 'float32',
  });
}

/** The processor beside `device`, from the same library: a process can load only one library with a provider. */
export const hostBeside = ({ library }: Runtime): Runtime => createOnnxRuntime({ library, threads: 1, spin: false });

export type Pretence = {
  readonly anchored?: boolean;
  readonly records?: boolean;
  readonly inBlocks?: boolean;
  /** Float type of values between two operators; float32 by default. */
  readonly real?: 'float32' | Rounded;
};

/** The runtime as a device, which does one run at a time and none aside. */
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

/** Makes a decoder between the runs of others: memory cannot be allocated while anything runs. */
export const anotherDecoder = (...args: Parameters<typeof createDecoder>): Promise<Decoder> =>
  args[0].betweenRuns(() => createDecoder(...args));

/** Without a card WebGPU runs in software, hundreds of times slower, so its storms are short. */
export const isSlow = testDevice.kind === 'webgpu';
