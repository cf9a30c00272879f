// CUDA: a build of ONNX Runtime with its CUDA provider, and the NVIDIA libraries that the provider is linked with.
// Knows where to look for both.

import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { cudaKernels } from './cuda-kernels.ts';
import { tryToOpenLibrary } from './ort-api.ts';
import { packagedLibrary } from './packaged-library.ts';
import type { CardReal, Provider, ProviderPlaces } from './provider.ts';

const hint =
  'It needs an NVIDIA driver, a build of ONNX Runtime with CUDA and its libraries: run `node scripts/setup-cuda.js`, ' +
  'or set LORIKEET_ORT_LIBRARY.';

export function cudaProvider(index: number, places: ProviderPlaces, real: CardReal): Provider {
  const library = findLibrary(places);
  // Once loaded, the provider's libraries are found by name wherever they lie. The provider itself reports best what it
  // lacks.
  for (const path of besides(library)) tryToOpenLibrary(path);
  return {
    name: `cuda:${index}`,
    library,
    memory: { name: 'Cuda', index },
    anchored: false,
    real,
    hasBlocks: true,
    // An operator without a kernel for the card runs on the processor, which is slow but right.
    strict: false,
    hint,
    operators: () => {
      const cache = places.cudaDir === null ? null : join(places.cudaDir, 'kernels');
      return { provider: 'CUDAExecutionProvider', ...cudaKernels(index, dirname(library), cache, real) };
    },
    append(api, settings, stream) {
      const options = api.call('createCudaOptions');
      try {
        // The default computes float32 products in TF32, whose 10 bits would leave gradients three digits.
        const values = { device_id: String(index), arena_extend_strategy: 'kSameAsRequested', use_tf32: '0' };
        const names = Object.keys(values);
        api.call('updateCudaOptions', options, names, Object.values(values), names.length);
        // Given as text, the option would be silently ignored.
        if (stream !== null) api.call('updateCudaOptionsWithValue', options, 'user_compute_stream', stream);
        api.call('appendCuda', settings, options);
      } finally {
        api.call('releaseCudaOptions', options);
      }
    },
    freeBytes: () => freeBytes(index, dirname(library)),
  };
}

/** Throws `device_unavailable` with every folder that was searched. */
function findLibrary({ library, cudaDir }: ProviderPlaces): string {
  if (library !== null) return library;
  const packaged = packagedLibrary();
  const candidates = [...(cudaDir === null ? [] : [cudaDir]), dirname(packaged)].map((folder) => ({
    folder,
    library: folder === dirname(packaged) ? packaged : newest(folder, /^(lib)?onnxruntime\.(so|dll)/),
    provider: newest(folder, /^(lib)?onnxruntime_providers_cuda\.(so|dll)$/),
  }));
  for (const { library, provider } of candidates) if (library !== null && provider !== null) return library;
  const looked = candidates.map(({ folder }) => folder).join(', ');
  const message = `The device cuda is not available: no ONNX Runtime with CUDA in ${looked}. ${hint}`;
  throw new LorikeetError('device_unavailable', { message, param: 'LORIKEET_DEVICE' });
}

function newest(folder: string, pattern: RegExp): string | null {
  if (!existsSync(folder)) return null;
  const name = readdirSync(folder)
    .filter((file) => pattern.test(file))
    .sort()
    .at(-1);
  return name === undefined ? null : join(folder, name);
}

/** In the order of their dependencies. */
const nvidiaLibraries = ['cudart', 'nvrtc', 'nvJitLink', 'cublasLt', 'cublas', 'curand', 'cufft', 'cudnn'];

function besides(library: string): string[] {
  const folder = dirname(library);
  const files = existsSync(folder) ? readdirSync(folder) : [];
  return nvidiaLibraries.flatMap((name) =>
    files.filter((file) => new RegExp(`^(lib)?${name}(\\.so|64_).*`).test(file)).map((file) => join(folder, file)),
  );
}

/** Free bytes of the card; null where CUDA's runtime library cannot be asked. */
function freeBytes(index: number, folder: string): number | null {
  const names = [newest(folder, /^libcudart\.so/), 'libcudart.so.13', 'libcudart.so.12'];
  const library = names
    .map((name) => (name === null ? null : tryToOpenLibrary(name)))
    .find((opened) => opened !== null);
  if (!library) return null;
  const setDevice = library.func('int cudaSetDevice(int)');
  const memGetInfo = library.func('int cudaMemGetInfo(_Out_ size_t*, _Out_ size_t*)');
  const free: [number] = [0];
  if (setDevice(index) !== 0 || memGetInfo(free, [0]) !== 0) return null;
  return Number(free[0]);
}
