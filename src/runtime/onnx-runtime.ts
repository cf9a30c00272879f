// Runtime over ONNX Runtime. One environment serves all sessions, and one thread pool all that have none of their own.
// On a device all commands go through one queue, since its provider is not made for two threads.

import { type Device, type DeviceKernels, defaultDeviceKernels } from '../core/device.ts';
import { LorikeetError } from '../core/errors.ts';
import { serially } from '../core/serially.ts';
import { callAside } from './aside.ts';
import { physicalCores } from './cores.ts';
import { cudaCard } from './cuda-card.ts';
import { createDeviceWeights } from './device-weights.ts';
import { exchangePlace } from './exchange-place.ts';
import { giveBackFreeMemory } from './free-memory.ts';
import { handleOf } from './handles.ts';
import { moveToHugePages } from './huge-pages.ts';
import { addressOf, deviceMemory, hostMemory } from './memory.ts';
import { type DeviceOperators, type NativeOperators, nativeOperators } from './native-operators.ts';
import { loadOrtApi, type OrtApi, type Pointer } from './ort-api.ts';
import { packagedLibrary } from './packaged-library.ts';
import { probeModel } from './probe-model.ts';
import type { CardReal, Provider } from './provider.ts';
import { providerOf, unavailable } from './providers.ts';
import { RecordingShelf } from './recordings.ts';
import type { MemoryPlace, Runtime, Tensor } from './session.ts';
import { createSession } from './sessions.ts';
import { dataOf, hostTensor } from './tensors.ts';

export type OnnxRuntimeOptions = {
  /** Path of libonnxruntime; null takes that of the onnxruntime-node package, or one that has the device. */
  readonly library: string | null;
  /** Threads of a session; null takes one for each physical core. */
  readonly threads: number | null;
  /** Whether idle workers spin for a moment instead of sleeping: faster steps, at the cost of other processes' time. */
  readonly spin: boolean;
  /** The processor by default. */
  readonly device?: Device;
  /** Where scripts/setup-cuda.js puts a build with CUDA. */
  readonly cudaDir?: string | null;
  /** Instructions that the native operators use; the best that the processor has by default. */
  readonly variant?: string | null;
  /** Whether sessions on a device must not leave any operator to the processor; the device's own setting by default. */
  readonly strict?: boolean;
  /** Kernels on a card; `defaultDeviceKernels` by default. */
  readonly deviceKernels?: DeviceKernels;
  /** Float type of a card's computation, the same for all runtimes of a process; float16 by default. */
  readonly cardReal?: CardReal;
  /** Whether the KV cache lies in blocks, on a device whose attention reads them; false by default. */
  readonly inBlocks?: boolean;
  /** Runs of a kind before it is recorded. */
  readonly runsBefore?: number;
};

const warning = 2;
/** Longer than any operator between two parallel ones. The common pool, which has no such limit, spins for 30 ms. */
const spinMicroseconds = '1000';
const optimizeNothing = 0;
const arenaAllocator = 1;
const deviceAllocator = 0;
const defaultMemory = 0;

/** Throws `runtime_unavailable` without a library, and `device_unavailable` without the device. */
export function createOnnxRuntime(options: OnnxRuntimeOptions): Runtime {
  const { library, device = { kind: 'cpu' }, cudaDir = null } = options;
  const known = providerOf(device, { library, cudaDir }, options.cardReal ?? 'float16');
  const provider = known && { ...known, strict: options.strict ?? known.strict };
  const api = loadOrtApi(provider?.library ?? library ?? packagedLibrary());
  const threads = options.threads ?? physicalCores();
  const threading = api.call('createThreadingOptions');
  api.call('setGlobalIntraOpNumThreads', threading, threads);
  api.call('setGlobalInterOpNumThreads', threading, 1);
  api.call('setGlobalSpinControl', threading, options.spin ? 1 : 0);
  const environment = api.call('createEnvWithGlobalThreadPools', warning, 'lorikeet', threading);
  const memoryInfo = api.call('createCpuMemoryInfo', arenaAllocator, defaultMemory);
  const spinningThreads = options.spin && threads > 1 ? threads : null;
  const kernels = options.deviceKernels ?? defaultDeviceKernels;
  const onCard = provider === null || kernels === 'runtime' ? null : operatorsOf(provider);
  const operators = nativeOperators(api, options.variant ?? null, onCard);
  const opened = {
    api,
    operators,
    spinningThreads,
    environment,
    memoryInfo,
    prepacked: api.call('createPrepackedWeightsContainer'),
  };
  const computing =
    provider === null
      ? onHost(opened)
      : onDevice(opened, provider, {
          hasOperators: onCard !== null,
          inBlocks: options.inBlocks ?? false,
          recording: kernels === 'recorded' ? { runsBefore: options.runsBefore } : null,
        });
  const name = `onnxruntime ${api.version}, native operators ${operators.variant}`;
  return {
    ...{ name, library: api.library, providers: api.availableProviders(), threads, giveBackFreeMemory },
    tensor: (data, shape) => hostTensor(api, memoryInfo, data, shape),
    ...computing,
  };
}

type Computing = Pick<Runtime, 'device' | 'allocate' | 'send' | 'copy' | 'betweenRuns' | 'session'>;

function onHost(library: Library): Computing {
  const { api, memoryInfo } = library;
  return {
    device: null,
    send: null,
    copy: null,
    allocate: (type, elements) => hostMemory(type, elements, (data, shape) => hostTensor(api, memoryInfo, data, shape)),
    betweenRuns: async (work) => work(),
    async session(model, { weights, own = none, profile, planMemory, aside }) {
      const all = new Map([...weights, ...own]);
      await moveToHugePages(api, weights.values());
      // Only shared weights go into the container of prepacked weights, which never gives anything back. Half floats
      // cannot go there, since the processor's kernels pack them for themselves.
      const given = new Map([...weights].filter(([, tensor]) => !(dataOf(tensor) instanceof Float16Array)));
      const handle = await openSession(library, model, { all, given, profile, planMemory, aside, provider: null });
      return createSession(api, handle, { weights: all, onRelease: () => {}, inTurn: null });
    },
  };
}

/**
 * null where the device has no operators of the project, or they fail on the card: ONNX Runtime's do the same in more
 * steps.
 */
function operatorsOf(provider: Provider): DeviceOperators | null {
  if (provider.operators === null) return null;
  try {
    return provider.operators();
  } catch (error) {
    if (!(error instanceof LorikeetError)) throw error;
    console.warn(`${error.message} ONNX Runtime's operators take their place, which is slower.`);
    return null;
  }
}

const pick = ({ name, anchored, real, freeBytes }: Provider) => ({ name, anchored, real, freeBytes });

type DeviceUse = {
  readonly hasOperators: boolean;
  readonly inBlocks: boolean;
  /** null where nothing is recorded. */
  readonly recording: { readonly runsBefore: number | undefined } | null;
};

function onDevice(library: Library, provider: Provider, { hasOperators, inBlocks, recording }: DeviceUse): Computing {
  const { api, memoryInfo } = library;
  const { place, session } = openDevice(library, provider);
  const inTurn = serially();
  const card = hasOperators ? cudaCard(api) : null;
  const shelf =
    card && recording
      ? new RecordingShelf(card, (placed, bytes) => exchangePlace(place, placed, bytes), console.warn, recording)
      : null;
  const deviceWeights = createDeviceWeights({ place, memoryInfo, session }, inTurn);
  return {
    device: {
      ...pick(provider),
      ...{ hasOperators, records: shelf !== null },
      blocks: inBlocks && provider.hasBlocks ? 'runtime' : null,
    },
    allocate: (type, elements) => deviceMemory(place, type, elements),
    send: card && ((places, data) => inTurn(() => card.send(addresses(places), data))),
    copy: card && ((from, to, bytes) => inTurn(() => card.copy(addresses(from), addresses(to), bytes))),
    betweenRuns: (work) => inTurn(async () => work()),
    async session(model, { weights, own = none, profile, planMemory }) {
      const all = new Map([...weights, ...own]);
      // Weights are sent in turns of their own, so that others run meanwhile.
      const { given, release } = await deviceWeights.of(weights, own);
      return inTurn(async () => {
        try {
          const handle = await openSession(library, model, { all, given, profile, planMemory, provider });
          return createSession(api, handle, { weights: all, onRelease: release, inTurn, shelf });
        } catch (error) {
          release();
          throw error;
        }
      });
    },
  };
}

const addresses = (places: readonly MemoryPlace[]) => BigUint64Array.from(places, addressOf);

type Library = {
  readonly api: OrtApi;
  readonly operators: NativeOperators;
  /**
   * Threads of each session's own pool; null without. Not for sessions made aside: their threads would inherit that
   * thread's class.
   */
  readonly spinningThreads: number | null;
  readonly environment: Pointer;
  /** Describes JavaScript's memory. */
  readonly memoryInfo: Pointer;
  readonly prepacked: Pointer;
};

const none: ReadonlyMap<string, Tensor> = new Map();

type Opening = {
  /** All weights in JavaScript's memory, by name. */
  readonly all: ReadonlyMap<string, Tensor>;
  /** The weights where sessions compute; each session makes its own copy of the others. */
  readonly given: ReadonlyMap<string, Tensor>;
  readonly profile?: string | undefined;
  readonly planMemory?: boolean | undefined;
  readonly aside?: boolean | undefined;
  readonly provider: Provider | null;
};

const reading = new Set<Uint8Array>();

async function openSession(library: Library, model: Uint8Array, opening: Opening): Promise<Pointer> {
  const { api, environment, prepacked } = library;
  const { all, given, profile, planMemory, aside, provider } = opening;
  const settings = sessionSettings(library, provider, aside || provider ? null : library.spinningThreads);
  if (profile) api.call('enableProfiling', settings, profile);
  if (planMemory === false) api.call('disableMemPattern', settings);
  // The library copies these weights, so they are as few as possible: a copy of all would take seconds.
  const copied = [...all].filter(([name]) => !given.has(name));
  const names = copied.map(([name]) => name);
  const values = copied.map(([, tensor]) => handleOf(tensor));
  if (names.length > 0) api.call('addExternalInitializers', settings, names, values, names.length);
  for (const [name, tensor] of given) api.call('addInitializer', settings, name, handleOf(tensor));
  // Off the event loop, since packing weights takes most of a second. The library reads `model` until the end.
  reading.add(model);
  const name = 'createSessionFromArrayWithPrepackedWeightsContainer';
  const args = [environment, model, model.byteLength, settings, prepacked];
  try {
    // A device's kernels that pack weights have no form that sessions could share.
    if (provider) return await api.callAsync('createSessionFromArray', environment, model, model.byteLength, settings);
    return await (aside ? callAside(api, name, ...args) : api.callAsync(name, ...args));
  } finally {
    reading.delete(model);
    api.call('releaseSessionOptions', settings);
  }
}

/** @param spinningThreads threads of a pool of its own; null for the pool that all sessions share */
function sessionSettings(
  { api, operators }: Pick<Library, 'api' | 'operators'>,
  provider: Provider | null,
  spinningThreads: number | null = null,
): Pointer {
  const settings = api.call('createSessionOptions');
  api.call('addCustomOpDomain', settings, operators.domain);
  // The graphs are built in their final form: the optimiser finds nothing, and would copy shared weights.
  api.call('setSessionGraphOptimizationLevel', settings, optimizeNothing);
  if (spinningThreads === null) api.call('disablePerSessionThreads', settings);
  else {
    api.call('setIntraOpNumThreads', settings, spinningThreads);
    api.call('addSessionConfigEntry', settings, 'session.intra_op.spin_duration_us', spinMicroseconds);
  }
  // The arena doubles as it grows, so weights that a session packs would take up to twice their size there.
  api.call('addSessionConfigEntry', settings, 'session.use_device_allocator_for_initializers', '1');
  provider?.append(api, settings, operators.stream);
  if (provider?.strict) api.call('addSessionConfigEntry', settings, 'session.disable_cpu_ep_fallback', '1');
  return settings;
}

/** Proves that the device is there, and gets its allocator, which belongs to a session. */
function openDevice(library: Library, provider: Provider) {
  const { api, environment } = library;
  try {
    const settings = sessionSettings(library, provider);
    const session = api.call('createSessionFromArray', environment, probeModel, probeModel.byteLength, settings);
    api.call('releaseSessionOptions', settings);
    const { name, index } = provider.memory;
    const memoryInfo = api.call('createMemoryInfo', name, deviceAllocator, index, defaultMemory);
    const allocator = api.call('createAllocator', session, memoryInfo);
    return { session, place: { api, memoryInfo, allocator, anchored: provider.anchored } };
  } catch (error) {
    throw unavailable(provider, error);
  }
}
