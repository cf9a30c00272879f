// Lowered weights, kept on disk: lowering reads and repacks every weight, while a second start is one plain read. A
// cached file is used only if its checksum holds; a broken one is made anew.

import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelFiles, ModelShape } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { parseSafetensorsHeader } from '../formats/safetensors.ts';
import { safetensorsHeader } from '../formats/write-safetensors.ts';
import { openModel } from '../models/open.ts';
import { readWhole } from '../models/read-whole.ts';
import { writeAtomically } from '../models/write-atomically.ts';
import { lower } from './lower.ts';
import type { LinearBits, LinearForm, LoweredModel, LoweredTensor } from './lowered.ts';

/** Raised whenever the same model would lower to other bytes. */
const loweringVersion = 2;

export type LoadedWeights = {
  readonly model: LoweredModel;
  /** Whether the weights came from the cache. */
  readonly cached: boolean;
};

/** Throws what `openModel` throws. If the cache cannot be written, the next start only takes longer. */
export async function loadWeights(
  files: ModelFiles,
  bits: LinearBits | null,
  cacheDir: string,
  warn: (message: string) => void,
): Promise<LoadedWeights> {
  const digest = files.digest.replace(/^sha256:/, '');
  const path = join(cacheDir, `${digest}-${bits ?? 'native'}-v${loweringVersion}.safetensors`);
  const cached = await readLowered(path, warn);
  if (cached) return { model: cached, cached: true };
  const model = lower(await openModel(files), bits);
  try {
    await mkdir(cacheDir, { recursive: true });
    await writeAtomically(path, loweredFile(model));
  } catch (error) {
    warn(`lowered weights could not be cached: ${(error as Error).message}`);
  }
  return { model, cached: false };
}

const fileTypes = { float32: 'F32', uint8: 'U8' } as const;

/** Yields the file piece by piece, so that a file of many GiB is in memory only once, as the model. */
export function* loweredFile({ shape, linears, weights }: LoweredModel): Generator<Uint8Array> {
  const tensors = [...weights].map(([name, { type, shape, data }]) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return { name, type: fileTypes[type], shape, bytes };
  });
  const described = { shape: JSON.stringify(shape), linears: JSON.stringify([...linears]) };
  const { header, ordered } = safetensorsHeader(tensors, { ...described, checksum: checksum(weights, described) });
  yield header;
  for (const { bytes } of ordered) yield bytes;
}

/** Throws `model_file_invalid` where the bytes are not what `loweredFile` gave. */
export function decodeLowered(file: Uint8Array<ArrayBuffer>): LoweredModel {
  const header = parseSafetensorsHeader(file, file.length);
  if (header === null) throw broken('its header is cut off');
  const weights = new Map<string, LoweredTensor>();
  for (const { name, type, shape, offset, bytes } of header.tensors) {
    const start = file.byteOffset + offset;
    if (type === 'F32') {
      weights.set(name, { type: 'float32', shape, data: new Float32Array(file.buffer, start, bytes / 4) });
    } else weights.set(name, { type: 'uint8', shape, data: new Uint8Array(file.buffer, start, bytes) });
  }
  const { metadata } = header;
  const described = { shape: metadata.get('shape') ?? '', linears: metadata.get('linears') ?? '' };
  if (metadata.get('checksum') !== checksum(weights, described)) throw broken('its checksum does not hold');
  const shape = JSON.parse(described.shape) as ModelShape;
  const linears = new Map(JSON.parse(described.linears) as [string, LinearForm][]);
  return { shape, linears, weights };
}

async function readLowered(path: string, warn: (message: string) => void): Promise<LoweredModel | null> {
  try {
    return decodeLowered(await readWhole(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      warn(`${path} is not used: ${(error as Error).message}`);
    }
    return null;
  }
}

const hashedAtOnce = 2 ** 30;

/**
 * A digest over all that a model consists of: shape, linears, and each tensor’s name, type, shape and bytes, by name.
 */
function checksum(weights: LoweredModel['weights'], { shape, linears }: { shape: string; linears: string }): string {
  const hash = createHash('sha256').update(`${shape}\0${linears}\0`);
  for (const name of [...weights.keys()].sort()) {
    const tensor = weights.get(name)!;
    hash.update(`${name}\0${tensor.type}\0${tensor.shape}\0`);
    const { buffer, byteOffset, byteLength } = tensor.data;
    // OpenSSL takes less than 2 GiB at once.
    for (let at = 0; at < byteLength; at += hashedAtOnce) {
      hash.update(new Uint8Array(buffer, byteOffset + at, Math.min(hashedAtOnce, byteLength - at)));
    }
  }
  return hash.digest('hex');
}

const broken = (reason: string) =>
  new LorikeetError('model_file_invalid', { message: `The file of lowered weights is broken: ${reason}.` });
