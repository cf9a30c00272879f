// Runtime over ONNX Runtime's CPU provider. One environment and one thread pool serve all sessions.

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { physicalCores } from './cores.ts';
import { loadOrtApi, type OrtApi, type Pointer } from './ort-api.ts';
import { type Binding, elementCount, type Runtime, type Session, type Tensor, type TensorData } from './session.ts';

export type OnnxRuntimeOptions = {
  /** Path of libonnxruntime; null takes the one inside the onnxruntime-node package. */
  readonly library: string | null;
  /** null takes one a physical core. */
  readonly threads: number | null;
  /** Idle workers spin for a moment instead of sleeping: faster steps, at the price of the other processes' time. */
  readonly spin: boolean;
};

const warning = 2;
const optimizeNothing = 0;
const arenaAllocator = 1;
const defaultMemory = 0;

export function createOnnxRuntime(options: OnnxRuntimeOptions): Runtime {
  const api = loadOrtApi(options.library ?? packagedLibrary());
  const threads = options.threads ?? physicalCores();
  const threading = api.call('createThreadingOptions');
  api.call('setGlobalIntraOpNumThreads', threading, threads);
  api.call('setGlobalInterOpNumThreads', threading, 1);
  api.call('setGlobalSpinControl', threading, options.spin ? 1 : 0);
  const environment = api.call('createEnvWithGlobalThreadPools', warning, 'lorikeet', threading);
  const memory = api.call('createCpuMemoryInfo', arenaAllocator, defaultMemory);
  const reading = new Set<Uint8Array>();
  const prepacked = api.call('createPrepackedWeightsContainer');

  return {
    name: `onnxruntime ${api.version}`,
    providers: api.availableProviders(),
    threads,
    tensor: (data, shape, packed) => createTensor(api, memory, data, shape, packed),
    async session(model, { weights, profile, planMemory }) {
      const settings = api.call('createSessionOptions');
      // The graphs are built in their final form: the optimiser finds nothing, and would copy shared weights.
      api.call('setSessionGraphOptimizationLevel', settings, optimizeNothing);
      api.call('disablePerSessionThreads', settings);
      if (profile) api.call('enableProfiling', settings, profile);
      if (planMemory === false) api.call('disableMemPattern', settings);
      const names = [...weights.keys()];
      api.call('addExternalInitializers', settings, names, [...weights.values()].map(handleOf), names.length);
      for (const [name, tensor] of weights) api.call('addInitializer', settings, name, handleOf(tensor));
      // Packing weights takes most of a second, which nobody should wait for. The library reads `model` all the while.
      reading.add(model);
      const session = await api.callAsync(
        'createSessionFromArrayWithPrepackedWeightsContainer',
        environment,
        model,
        model.byteLength,
        settings,
        prepacked,
      );
      reading.delete(model);
      api.call('releaseSessionOptions', settings);
      return createSession(api, session, weights);
    },
  };
}

/** libonnxruntime as the onnxruntime-node package ships it for this platform. */
export function packagedLibrary(): string {
  const file = { linux: 'libonnxruntime.so.1', darwin: 'libonnxruntime.1.dylib', win32: 'onnxruntime.dll' };
  const name = file[process.platform as keyof typeof file];
  if (!name) throw new LorikeetError('runtime_unavailable', { message: `No ONNX Runtime for ${process.platform}.` });
  const root = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  return join(root, 'bin', 'napi-v6', process.platform, process.arch, name);
}

/** ONNXTensorElementDataType */
const elementTypes = new Map<unknown, number>([
  [Float32Array, 1],
  [Uint8Array, 2],
  [Int32Array, 6],
  [BigInt64Array, 7],
]);

const packedUint4 = 21;

const handles = new WeakMap<object, Pointer>();

function handleOf(owner: object): Pointer {
  const handle = handles.get(owner);
  if (handle === undefined) throw new Error('This runtime object was released or is another runtime’s.');
  return handle;
}

function createTensor(
  api: OrtApi,
  memory: Pointer,
  data: TensorData,
  shape: readonly number[],
  packed?: 'uint4',
): Tensor {
  if (Math.ceil(elementCount(shape) / (packed ? 2 : 1)) !== data.length)
    throw new Error(`Shape [${shape}] is not ${data.length} elements.`);
  // Reading `buffer` moves a small array off V8's heap, so that its address never changes afterwards.
  if (data.buffer.byteLength < data.byteLength) throw new Error('The memory was detached.');
  const dimensions = BigInt64Array.from(shape, BigInt);
  const element = packed ? packedUint4 : elementTypes.get(data.constructor);
  const handle = api.call(
    'createTensorWithDataAsOrtValue',
    memory,
    data,
    data.byteLength,
    dimensions,
    shape.length,
    element,
  );
  const tensor: Tensor = {
    data,
    shape,
    release: () => {
      api.call('releaseValue', handleOf(tensor));
      handles.delete(tensor);
    },
  };
  handles.set(tensor, handle);
  return tensor;
}

function createSession(api: OrtApi, handle: Pointer, weights: ReadonlyMap<string, Tensor>): Session {
  // The library does not own shared weights: the session keeps them, and so their data, alive.
  const owned = new Map(weights);
  const session: Session = {
    bind: () => createBinding(api, handleOf(session)),
    run: async (binding) => void (await api.callAsync('runWithBinding', handleOf(session), null, handleOf(binding))),
    release: () => {
      api.call('releaseSession', handleOf(session));
      handles.delete(session);
      owned.clear();
    },
  };
  handles.set(session, handle);
  return session;
}

function createBinding(api: OrtApi, session: Pointer): Binding {
  // The library does not own bound memory: the binding keeps its tensors, and so their data, alive.
  const tensors = new Map<string, Tensor>();
  const handle = api.call('createIoBinding', session);
  const tie = (call: 'bindInput' | 'bindOutput', name: string, tensor: Tensor) => {
    api.call(call, handle, name, handleOf(tensor));
    tensors.set(`${call} ${name}`, tensor);
  };
  const binding: Binding = {
    input: (name, tensor) => tie('bindInput', name, tensor),
    output: (name, tensor) => tie('bindOutput', name, tensor),
    release: () => {
      api.call('releaseIoBinding', handleOf(binding));
      handles.delete(binding);
      tensors.clear();
    },
  };
  handles.set(binding, handle);
  return binding;
}
