// The project's own CUDA kernels: the texts in native/cuda, compiled for the present card and cached on disk by a
// digest of what they are made from. Knows their names and order (native/cuda.h), and not what they compute.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileCuda, openCudaDriver } from './cuda-driver.ts';
import type { Pointer } from './ort-api.ts';
import type { CardReal } from './provider.ts';
import { elementTypes } from './tensors.ts';

const texts = fileURLToPath(new URL('../../native/cuda/', import.meta.url));

/** Kernels by file, in the order of native/cuda.h. */
const modules = {
  'grouped-lora.cu': ['grouped_lora', 'grouped_lora_unaligned'],
  'gated-silu.cu': ['gated_silu'],
  'send-rows.cu': ['send_rows'],
  'quantized-linear.cu': [
    ...['quantized_linear_4_16', 'quantized_linear_8_16', 'quantized_linear_4_32', 'quantized_linear_8_32'],
    ...['quantized_linear_4_64', 'quantized_linear_8_64', 'quantized_embedding'],
  ],
} as const;

/** The driver's functions, in the order of `Driver` in native/cuda.h. */
const functions = [
  ...['cuLaunchKernel', 'cuMemAlloc_v2', 'cuMemsetD8Async', 'cuMemcpyHtoDAsync_v2', 'cuMemcpyDtoHAsync_v2'],
  'cuMemcpyDtoDAsync_v2',
  ...['cuCtxSetCurrent', 'cuStreamSynchronize', 'cuStreamBeginCapture_v2', 'cuStreamEndCapture'],
  ...['cuGraphGetNodes', 'cuGraphInstantiateWithFlags', 'cuGraphLaunch', 'cuGraphDestroy', 'cuGraphExecDestroy'],
];

export type CudaKernels = {
  /** Argument of `lorikeet_use_cuda`. */
  readonly addresses: BigUint64Array;
  readonly stream: Pointer;
  /** Files that were compiled now, because the cache had no result. */
  readonly compiled: readonly string[];
};

/**
 * @param folder where NVRTC lies
 * @param cache folder for compiled kernels; null keeps none
 * @param real element type for which the kernels are compiled
 * @throws `device_unavailable` where the driver, the compiler or the card fails
 */
export function cudaKernels(index: number, folder: string, cache: string | null, real: CardReal): CudaKernels {
  const known = opened.get(index) ?? { real, kernels: open(index, folder, cache, real) };
  if (known.real !== real) throw new Error(`this process has kernels of ${known.real} on cuda:${index}`);
  opened.set(index, known);
  return known.kernels;
}

/**
 * Kernels by card. The launching code knows one stream and one element type for each card, so all runtimes of a process
 * share both.
 */
const opened = new Map<number, { readonly real: CardReal; readonly kernels: CudaKernels }>();

function open(index: number, folder: string, cache: string | null, real: CardReal): CudaKernels {
  const driver = openCudaDriver(index);
  const { context, stream } = driver;
  const flags = [`-arch=${driver.architecture}`, '-std=c++17', '-default-device'];
  if (real === 'bfloat16') flags.push('-DREAL_BFLOAT16=1');
  const shared = readFileSync(join(texts, 'device.cuh'), 'utf8');
  const compiled: string[] = [];
  const kernels: Pointer[] = [];
  for (const [file, names] of Object.entries(modules)) {
    const text = `${shared}\n${readFileSync(join(texts, file), 'utf8')}`;
    const binary = kept(cache, [text, ...flags], () => {
      compiled.push(file);
      return compileCuda(folder, file, text, flags);
    });
    kernels.push(...driver.load(binary, names));
  }
  const code = BigInt(elementTypes[real].code);
  return {
    addresses: BigUint64Array.from([...functions.map(driver.address), context, stream, code, ...kernels]),
    stream,
    compiled,
  };
}

/** The cached result for what it is made of; if there is none, makes it and adds it to the cache. */
function kept(cache: string | null, madeOf: readonly string[], make: () => Uint8Array): Uint8Array {
  if (cache === null) return make();
  const path = join(cache, `${createHash('sha256').update(madeOf.join('\n')).digest('hex')}.cubin`);
  try {
    return readFileSync(path);
  } catch {
    // The cache has no such file yet.
  }
  const binary = make();
  try {
    mkdirSync(cache, { recursive: true });
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, binary);
    renameSync(temporary, path);
  } catch {
    // If the folder cannot be written, the next start takes a second longer.
  }
  return binary;
}
