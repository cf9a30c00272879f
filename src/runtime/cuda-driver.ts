// NVIDIA's driver and its kernel compiler, as far as the project's own kernels need them.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { koffi } from './native.ts';
import { openLibrary, type Pointer, tryToOpenLibrary } from './ort-api.ts';

export type CudaDriver = {
  /** Compute architecture, such as `sm_90`. */
  readonly architecture: string;
  readonly context: Pointer;
  readonly stream: Pointer;
  /** Address of one of the driver's functions. */
  address(name: string): Pointer;
  /** Loads a compiled module and gives the addresses of its kernels, which stay for the life of the process. */
  load(binary: Uint8Array, kernels: readonly string[]): Pointer[];
};

const majorCapability = 75;
const minorCapability = 76;
/** The stream waits for no other one, as ONNX Runtime's own does not. */
const besideOthers = 1;

/**
 * Makes the card's primary context, which ONNX Runtime uses too, current on the calling thread. Throws
 * `device_unavailable`.
 */
export function openCudaDriver(index: number): CudaDriver {
  const library = openLibrary(process.platform === 'win32' ? 'nvcuda.dll' : 'libcuda.so.1');
  const call = (declaration: string, ...args: unknown[]) => {
    const code = library.func(declaration)(...args) as number;
    if (code !== 0) throw failed(declaration, code);
  };
  const out = <T>(declaration: string, first: T, ...args: unknown[]): T => {
    const result: [T] = [first];
    call(declaration, result, ...args);
    return result[0];
  };
  call('int cuInit(unsigned int)', 0);
  const device = out('int cuDeviceGet(_Out_ int*, int)', 0, index);
  const context = out('int cuDevicePrimaryCtxRetain(_Out_ void**, int)', 0n, device);
  call('int cuCtxSetCurrent(void*)', context);
  const attribute = (which: number) => out('int cuDeviceGetAttribute(_Out_ int*, int, int)', 0, which, device);
  return {
    architecture: `sm_${attribute(majorCapability)}${attribute(minorCapability)}`,
    context,
    stream: out('int cuStreamCreate(_Out_ void**, unsigned int)', 0n, besideOthers),
    address(name) {
      try {
        return koffi.address(library.symbol(name));
      } catch {
        throw unavailable(`the driver has no ${name}`);
      }
    },
    load(binary, kernels) {
      const module = out('int cuModuleLoadData(_Out_ void**, void*)', 0n, binary);
      return kernels.map((name) => out('int cuModuleGetFunction(_Out_ void**, void*, const char*)', 0n, module, name));
    },
  };
}

/**
 * @param flags such as `-arch=sm_90`
 * Throws `device_unavailable` with the compiler's log.
 */
export function compileCuda(folder: string, name: string, text: string, flags: readonly string[]): Uint8Array {
  // The compiler opens this library by its name alone, wherever the compiler itself lies.
  for (const path of found(folder, /^libnvrtc-builtins\.so/)) tryToOpenLibrary(path);
  const names = [...found(folder, /^libnvrtc\.so/), 'libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so'];
  const library = names.map(tryToOpenLibrary).find((opened) => opened !== null);
  if (!library) throw unavailable(`there is no NVRTC in ${folder}`);
  const call = (declaration: string, ...args: unknown[]) => library.func(declaration)(...args) as number;
  const program: [Pointer] = [0n];
  const declaration = 'int nvrtcCreateProgram(_Out_ void**, const char*, const char*, int, void*, void*)';
  const created = call(declaration, program, text, name, 0, null, null);
  if (created !== 0) throw failed('nvrtcCreateProgram', created);
  const bytes = (size: string, get: string) => {
    const length: [number] = [0];
    call(`int ${size}(void*, _Out_ size_t*)`, program[0], length);
    const data = new Uint8Array(Number(length[0]));
    call(`int ${get}(void*, void*)`, program[0], data);
    return data;
  };
  try {
    if (call('int nvrtcCompileProgram(void*, int, const char**)', program[0], flags.length, [...flags]) !== 0) {
      const log = Buffer.from(bytes('nvrtcGetProgramLogSize', 'nvrtcGetProgramLog')).toString().replaceAll('\0', '');
      throw unavailable(`${name} does not compile for ${flags.join(' ')}: ${log.trim()}`);
    }
    return bytes('nvrtcGetCUBINSize', 'nvrtcGetCUBIN');
  } finally {
    call('int nvrtcDestroyProgram(_Inout_ void**)', program);
  }
}

function found(folder: string, pattern: RegExp): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => pattern.test(file))
    .map((file) => join(folder, file));
}

const failed = (what: string, code: number) => unavailable(`${what.replace(/^int (\w+).*/, '$1')} failed with ${code}`);

const unavailable = (reason: string) =>
  new LorikeetError('device_unavailable', { message: `The project’s own kernels cannot be used: ${reason}.` });
