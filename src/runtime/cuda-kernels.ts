// The project's own CUDA kernels: the texts of native/cuda, compiled for the card that is there, and kept on disk by
// what they were made of. Knows their names and order (native/cuda.h), not what they compute.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileCuda, openCudaDriver } from './cuda-driver.ts';
import type { Pointer } from './ort-api.ts';

const texts = fileURLToPath(new URL('../../native/cuda/', import.meta.url));

/** By file, in the order in which native/cuda.h counts their kernels. */
const modules = {
  'grouped-lora.cu': ['grouped_lora', 'grouped_lora_unaligned'],
  'gated-silu.cu': ['gated_silu'],
  'send-rows.cu': ['send_rows'],
} as const;

/** Of the driver, in the order of `Driver` in native/cuda.h. */
const functions = [
  ...['cuLaunchKernel', 'cuMemAlloc_v2', 'cuMemsetD8Async', 'cuMemcpyHtoDAsync_v2', 'cuMemcpyDtoHAsync_v2'],
  'cuMemcpyDtoDAsync_v2',
  ...['cuCtxSetCurrent', 'cuStreamSynchronize', 'cuStreamBeginCapture_v2', 'cuStreamEndCapture'],
  ...['cuGraphGetNodes', 'cuGraphInstantiateWithFlags', 'cuGraphLaunch', 'cuGraphDestroy', 'cuGraphExecDestroy'],
];

export type CudaKernels = {
  /** For `lorikeet_use_cuda`. */
  readonly addresses: BigUint64Array;
  readonly stream: Pointer;
  /** What was compiled now, and not found on disk. */
  readonly compiled: readonly string[];
};

/**
 * @param folder where NVRTC lies
 * @param cache null: nothing is kept
 * @throws `device_unavailable` where the driver, the compiler or the card will not have them
 */
export function cudaKernels(index: number, folder: string, cache: string | null): CudaKernels {
  const known = opened.get(index) ?? open(index, folder, cache);
  opened.set(index, known);
  return known;
}

/** By card: what launches kernels knows one stream, so all runtimes of a process share it. */
const opened = new Map<number, CudaKernels>();

function open(index: number, folder: string, cache: string | null): CudaKernels {
  const driver = openCudaDriver(index);
  const { context, stream } = driver;
  const flags = [`-arch=${driver.architecture}`, '-std=c++17', '-default-device'];
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
  return {
    addresses: BigUint64Array.from([...functions.map(driver.address), context, stream, ...kernels]),
    stream,
    compiled,
  };
}

/** Out of the cache under what it is made of; made, and put there, where it is not. */
function kept(cache: string | null, madeOf: readonly string[], make: () => Uint8Array): Uint8Array {
  if (cache === null) return make();
  const path = join(cache, `${createHash('sha256').update(madeOf.join('\n')).digest('hex')}.cubin`);
  try {
    return readFileSync(path);
  } catch {
    // Not there yet.
  }
  const binary = make();
  try {
    mkdirSync(cache, { recursive: true });
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, binary);
    renameSync(temporary, path);
  } catch {
    // A folder that cannot be written costs a second at the next start.
  }
  return binary;
}
