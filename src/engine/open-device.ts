// Opens the configured device, and chooses its float type and its number of adapter pages.

import { type Device, defaultDeviceKernels, parseDevice } from '../core/device.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { pageRanks } from '../core/page-sizes.ts';
import type { LoweredModel } from '../graph/lowered.ts';
import { hostTarget, type Real, realBytes } from '../graph/target.ts';
import { deviceTrainerBytes } from '../graph/trainer-bytes.ts';
import type { EngineConfig } from '../protocol/messages.ts';
import { createOnnxRuntime } from '../runtime/onnx-runtime.ts';
import type { Runtime, RuntimeDevice } from '../runtime/session.ts';
import { joinedSizes } from './adapters/resident-adapter.ts';
import { devicePages } from './policies/device-budget.ts';

export type OpenDevice = {
  readonly runtime: Runtime;
  /** Float type with which graphs compute. */
  readonly real: Real;
};

/** Throws `invalid_config`, `runtime_unavailable` or `device_unavailable`. */
export function openDevice(config: EngineConfig): OpenDevice {
  const {
    ortLibrary: library,
    threads,
    cudaDir = null,
    devicePrecision,
    deviceKernels = defaultDeviceKernels,
  } = config;
  const device = deviceOf(config.device);
  const inBlocks = config.deviceKv === 'blocks';
  const kernels = { deviceKernels, inBlocks, ...(devicePrecision === 'bfloat16' && { cardReal: devicePrecision }) };
  const runtime = createOnnxRuntime({ library, threads, spin: true, device, cudaDir, ...kernels });
  if (runtime.device === null) return { runtime, real: hostTarget.real };
  const real = devicePrecision ?? runtime.device.real;
  if (inBlocks) assertBlocks(runtime.device, real);
  return { runtime, real };
}

/** Throws `invalid_config` where the device cannot keep the KV cache in blocks of this float type. */
export function assertBlocks({ name, blocks, real: own }: RuntimeDevice, real: Real): void {
  if (blocks !== null && real === own) return;
  const reason =
    blocks === null ? `${name} keeps keys and values in rows` : `${name} reads blocks of ${own} alone, not of ${real}`;
  const message = `LORIKEET_DEVICE_KV=blocks does not go: ${reason}. Leave it out.`;
  throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_DEVICE_KV' });
}

function deviceOf(text: string): Device {
  try {
    return parseDevice(text);
  } catch (error) {
    const message = `LORIKEET_DEVICE ${(error as Error).message}.`;
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_DEVICE' });
  }
}

type PageConfig = Pick<EngineConfig, 'maxSequences' | 'mergeBytes' | 'trainsBeside'>;

/** Pages for each slot where neither their number nor the free memory is known: rank 32 for every row. */
const defaultPagesPerSlot = 4;

/**
 * The number of adapter pages. Throws `invalid_config` where a device has too little room for weights, the KV cache of
 * all slots, and the fewest pages.
 */
export function pagesFor(
  { runtime, real }: OpenDevice,
  model: LoweredModel,
  { maxSequences: slots, mergeBytes = 0, trainsBeside }: PageConfig,
  { positions, bytes: kvBytes }: { readonly positions: number; readonly bytes: number },
): number {
  const { shape, weights } = model;
  const pagesMin = defaultPagesPerSlot * slots;
  const freeBytes = runtime.device?.freeBytes() ?? null;
  // On the host, untouched memory costs nothing, so there is room for the largest adapter that an upload may bring.
  if (runtime.device === null) return Math.max(pagesMin, limits.adapterRank / pageRanks);
  if (freeBytes === null) return pagesMin;
  const weightBytes = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const trainerBytes = trainsBeside === undefined ? 0 : deviceTrainerBytes(model, trainsBeside);
  const needs = {
    freeBytes,
    weightBytes,
    kvBytes,
    reservedBytes: mergeBytes + trainerBytes,
    pageBytes: realBytes[real] * pageFloats(shape),
    ...{ pagesMin, pagesMax: limits.adapterPages },
  };
  const pages = devicePages(needs);
  if (pages !== null) return pages;
  const inGiB = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const message =
    `${runtime.device!.name} has ${inGiB(freeBytes)} free: too little for ${inGiB(needs.weightBytes)} of weights, ` +
    `${inGiB(needs.kvBytes)} of keys and values for ${slots} slots of ${positions} tokens, and adapters. ` +
    'Set fewer slots (LORIKEET_MAX_SEQUENCES), a shorter context (LORIKEET_MAX_CONTEXT) or, of blocks, less ' +
    'LORIKEET_KV_MEMORY and LORIKEET_PREFIX_CACHE_MEMORY.';
  throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_MAX_SEQUENCES' });
}

/** Floats of one page in every linear and layer. */
const pageFloats = (shape: LoweredModel['shape']): number =>
  joinedSizes(shape).reduce(
    (sum, { layers, in: inputs, modules, out }) => sum + layers * pageRanks * (modules.length * inputs + out),
    0,
  );
