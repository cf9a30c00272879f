// ONNX Runtime's C API as functions. The API is a table of function pointers whose order is ABI and which only grows
// (struct OrtApi in onnxruntime_c_api.h), so an index is stable. Knows calling conventions, and no tensors or sessions.

import type { LibraryHandle } from 'koffi';
import { LorikeetError } from '../core/errors.ts';
import { koffi } from './native.ts';

/** An address inside the library. */
export type Pointer = bigint;

/** Version of the table that is asked for; it has every function below. */
const apiVersion = 24;

/** For each function its index in OrtApi, its result and its C parameters. `status` is an OrtStatus*. */
const table = {
  getErrorMessage: [2, 'const char*', ['void*']],
  enableProfiling: [14, 'status', ['void*', 'const char*']],
  disableMemPattern: [17, 'status', ['void*']],
  createSessionFromArray: [8, 'status', ['void*', 'void*', 'size_t', 'void*', '_Out_ void**']],
  createSessionOptions: [10, 'status', ['_Out_ void**']],
  setSessionGraphOptimizationLevel: [23, 'status', ['void*', 'int']],
  setIntraOpNumThreads: [24, 'status', ['void*', 'int']],
  createCustomOpDomain: [26, 'status', ['const char*', '_Out_ void**']],
  customOpDomainAdd: [27, 'status', ['void*', 'void*']],
  createRunOptions: [39, 'status', ['_Out_ void**']],
  addRunConfigEntry: [165, 'status', ['void*', 'const char*', 'const char*']],
  addCustomOpDomain: [28, 'status', ['void*', 'void*']],
  createTensorAsOrtValue: [48, 'status', ['void*', 'const int64_t*', 'size_t', 'int', '_Out_ void**']],
  createTensorWithDataAsOrtValue: [
    49,
    'status',
    ['void*', 'void*', 'size_t', 'const int64_t*', 'size_t', 'int', '_Out_ void**'],
  ],
  getTensorMutableData: [51, 'status', ['void*', '_Out_ void**']],
  createMemoryInfo: [68, 'status', ['const char*', 'int', 'int', 'int', '_Out_ void**']],
  createCpuMemoryInfo: [69, 'status', ['int', 'int', '_Out_ void**']],
  releaseStatus: [93, 'void', ['void*']],
  releaseSession: [95, 'void', ['void*']],
  releaseValue: [96, 'void', ['void*']],
  releaseSessionOptions: [100, 'void', ['void*']],
  createEnvWithGlobalThreadPools: [119, 'status', ['int', 'const char*', 'void*', '_Out_ void**']],
  disablePerSessionThreads: [120, 'status', ['void*']],
  createThreadingOptions: [121, 'status', ['_Out_ void**']],
  getAvailableProviders: [125, 'status', ['_Out_ void**', '_Out_ int*']],
  createAllocator: [131, 'status', ['void*', 'void*', '_Out_ void**']],
  addSessionConfigEntry: [130, 'status', ['void*', 'const char*', 'const char*']],
  runWithBinding: [133, 'status', ['void*', 'void*', 'void*']],
  createIoBinding: [134, 'status', ['void*', '_Out_ void**']],
  releaseIoBinding: [135, 'void', ['void*']],
  bindInput: [136, 'status', ['void*', 'const char*', 'void*']],
  bindOutput: [137, 'status', ['void*', 'const char*', 'void*']],
  setGlobalIntraOpNumThreads: [147, 'status', ['void*', 'int']],
  setGlobalInterOpNumThreads: [148, 'status', ['void*', 'int']],
  setGlobalSpinControl: [149, 'status', ['void*', 'int']],
  addInitializer: [150, 'status', ['void*', 'const char*', 'void*']],
  createPrepackedWeightsContainer: [166, 'status', ['_Out_ void**']],
  synchronizeBoundInputs: [202, 'status', ['void*']],
  appendCuda: [204, 'status', ['void*', 'void*']],
  createCudaOptions: [205, 'status', ['_Out_ void**']],
  updateCudaOptions: [206, 'status', ['void*', 'const char**', 'const char**', 'size_t']],
  updateCudaOptionsWithValue: [263, 'status', ['void*', 'const char*', 'void*']],
  releaseCudaOptions: [208, 'void', ['void*']],
  appendExecutionProvider: [216, 'status', ['void*', 'const char*', 'const char**', 'const char**', 'size_t']],
  addExternalInitializers: [210, 'status', ['void*', 'const char**', 'void**', 'size_t']],
  createSessionFromArrayWithPrepackedWeightsContainer: [
    169,
    'status',
    ['void*', 'void*', 'size_t', 'void*', 'void*', '_Out_ void**'],
  ],
} as const;

type Name = keyof typeof table;
type Call = (...args: unknown[]) => unknown;

export type OrtApi = {
  /** Address of the table itself. */
  readonly table: Pointer;
  /** Path of the library. */
  readonly library: string;
  /** Version of the library, such as `1.30.0`. */
  readonly version: string;
  /** Calls a function and throws on a bad status. Where the last parameter is an out pointer, returns what it wrote. */
  call(name: Name, ...args: unknown[]): Pointer;
  /**
   * As `call`, on a thread of libuv's pool, so that the event loop stays free. Memory that `args` point to must stay
   * until it settles.
   */
  callAsync(name: Name, ...args: unknown[]): Promise<Pointer>;
  availableProviders(): string[];
};

/**
 * Opens the library at `path`. Throws `runtime_unavailable` with the loader's message, or where the library is too old.
 */
export function loadOrtApi(path: string): OrtApi {
  const library = openLibrary(path);
  const base = library.func('void* OrtGetApiBase()')() as Pointer;
  const [getApi, getVersion] = koffi.decode(base, koffi.array('void*', 2)) as [Pointer, Pointer];
  const version = koffi.decode(getVersion, koffi.proto('const char*', []))() as string;
  const api = koffi.decode(getApi, koffi.proto('void*', ['uint32_t']))(apiVersion) as Pointer | null;
  if (api === null) {
    const message = `${path} is ONNX Runtime ${version}, which lacks version ${apiVersion} of the C API.`;
    throw new LorikeetError('runtime_unavailable', { message });
  }
  const length = Math.max(...Object.values(table).map(([index]) => index)) + 1;
  const pointers = koffi.decode(api, koffi.array('void*', length)) as Pointer[];
  const functions = {} as Record<Name, Call & { async: Call }>;
  for (const [name, [index, result, parameters]] of Object.entries(table)) {
    const proto = koffi.proto(result === 'status' ? 'void*' : result, [...parameters]);
    functions[name as Name] = koffi.decode(pointers[index], proto);
  }

  const outOf = (name: Name): [Pointer] | null => (table[name][2].at(-1) === '_Out_ void**' ? [0n] : null);
  const check = (status: unknown) => {
    if (status === null) return;
    const message = `ONNX Runtime: ${functions.getErrorMessage(status)}`;
    functions.releaseStatus(status);
    throw new Error(message);
  };
  return {
    table: api,
    library: path,
    version,
    call(name, ...args) {
      const [, result] = table[name];
      const out = outOf(name);
      const value = out ? functions[name](...args, out) : functions[name](...args);
      if (result === 'status') check(value);
      return out ? out[0] : 0n;
    },
    callAsync(name, ...args) {
      const out: [Pointer] | null = outOf(name);
      return new Promise((resolve, reject) => {
        functions[name].async(...args, ...(out ? [out] : []), (error: Error | null, status: unknown) => {
          try {
            if (error) throw error;
            check(status);
            resolve(out ? out[0] : 0n);
          } catch (cause) {
            reject(cause);
          }
        });
      });
    },
    availableProviders() {
      const names: [Pointer] = [0n];
      const count: [number] = [0];
      check(functions.getAvailableProviders(names, count));
      return koffi.decode(names[0], koffi.array('const char*', count[0])) as string[];
    },
  };
}

// koffi unloads a library when its handle is collected, and the next call would crash: all handles are kept for ever.
const libraries: LibraryHandle[] = [];

export function openLibrary(path: string): LibraryHandle {
  try {
    const library = koffi.load(path);
    libraries.push(library);
    return library;
  } catch (cause) {
    const message = `A library could not be loaded from ${path}: ${(cause as Error).message}`;
    throw new LorikeetError('runtime_unavailable', { message, cause });
  }
}

/** Opens a library that may be missing; null where that fails. */
export function tryToOpenLibrary(path: string): LibraryHandle | null {
  try {
    return openLibrary(path);
  } catch {
    return null;
  }
}
