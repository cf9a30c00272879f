// An adapter's files -> matrices in memory. Long work in small pieces: between two of them the event loop takes its
// turn, so that steps of others go on. What the bytes are is proved here, by the digest that the request pinned.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { AdapterFiles, TargetModule } from '../../core/adapter.ts';
import { LorikeetError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { adapterDigest } from '../../formats/adapter-digest.ts';
import { pairValues } from '../../formats/adapter-values.ts';
import { type AdapterPair, readPeftAdapter } from '../../formats/peft-adapter.ts';
import { invalidAdapter } from '../../formats/refuse-adapter.ts';
import { parseSafetensorsHeader, type SafetensorsTensor } from '../../formats/safetensors.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import type { Breath } from './breath.ts';
import { gainsOf } from './dora-gains.ts';
import {
  createPart,
  createResident,
  firstOutput,
  type JoinedSizes,
  joinedSizes,
  pageRanks,
  pagesOf,
  type ResidentAdapter,
  type ResidentLinear,
  type ResidentPart,
} from './resident-adapter.ts';

export type ReadContext = { readonly model: LoweredModel; readonly breath: Breath };

/** Throws `adapter_corrupt` where the files are missing or are not what the digest says. */
export async function readAdapter(files: AdapterFiles, context: ReadContext): Promise<ResidentAdapter> {
  const { model, breath } = context;
  const { shape } = model;
  const [config, weights] = await readProved(files, breath);
  const header = parseSafetensorsHeader(weights, weights.length)!;
  const { pairs } = readPeftAdapter(config, header, shape);
  const values = (tensor: SafetensorsTensor) =>
    pairValues(tensor, weights.subarray(tensor.offset, tensor.offset + tensor.bytes));

  const linears = new Map<JoinedLinear, ResidentLinear>();
  for (const sizes of joinedSizes(shape)) {
    const own = pairs.filter(({ module }) => sizes.modules.includes(module));
    if (own.length === 0) continue;
    const parts = sizes.modules.map((module, part) => createPart(sizes, part, ranksOf(own, module)));
    for (const pair of own) {
      writePair(pair, sizes, parts[sizes.modules.indexOf(pair.module)]!, values);
      await breath.take();
    }
    const gains = await applyGains(own, sizes, parts, values, context);
    linears.set(sizes.linear, { parts, pages: pagesOf(parts), gains });
  }
  return createResident(files.digest, linears);
}

/** DoRA's gains [layers, out of all parts], also folded into B; null where no pair has a magnitude. */
async function applyGains(
  pairs: readonly AdapterPair[],
  sizes: JoinedSizes,
  parts: readonly ResidentPart[],
  values: (tensor: SafetensorsTensor) => Float32Array,
  { model, breath }: ReadContext,
): Promise<Float32Array<ArrayBuffer> | null> {
  if (pairs.every(({ magnitude }) => magnitude === null)) return null;
  const all = new Float32Array(sizes.layers * sizes.out).fill(1);
  for (const { layer: pairLayer, module, magnitude } of pairs) {
    if (magnitude === null) continue;
    const layer = pairLayer ?? 0;
    const part = sizes.modules.indexOf(module);
    const resident = parts[part]!;
    const gains = await gainsOf(model, { sizes, layer, part }, resident, values(magnitude), breath);
    // Divided by a row that is nearly zero; what follows from it would spoil rows of others, as in adapter-values.ts.
    if (!gains.every((gain) => Math.abs(gain) < limits.adapterGain)) {
      invalidAdapter(magnitude.name, 'stretches a row of the base model beyond measure');
    }
    all.set(gains, layer * sizes.out + firstOutput(sizes, part));
    const out = sizes.outs[part]!;
    for (let rank = layer * resident.ranks; rank < (layer + 1) * resident.ranks; rank++) {
      for (let n = 0; n < out; n++) resident.b[rank * out + n]! *= gains[n]!;
    }
  }
  return all;
}

async function readProved(files: AdapterFiles, breath: Breath): Promise<[Buffer, Buffer]> {
  const corrupt = (reason: string, cause?: unknown) =>
    new LorikeetError('adapter_corrupt', {
      message: `The adapter ${files.digest} is damaged: ${reason}.`,
      // Of several adapters, the one at fault.
      param: files.digest,
      cause,
    });
  let contents: [Buffer, Buffer];
  try {
    contents = await Promise.all([readFile(files.config), readFile(files.weights)]);
  } catch (error) {
    throw corrupt(`its files cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
  const digests = [await sha256(contents[0], breath), await sha256(contents[1], breath)] as const;
  if (adapterDigest(...digests) !== files.digest) throw corrupt('its bytes have another digest');
  return contents;
}

const hashedAtOnce = 2 ** 20;

async function sha256(bytes: Buffer, breath: Breath): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += hashedAtOnce) {
    hash.update(bytes.subarray(at, at + hashedAtOnce));
    await breath.take();
  }
  return hash.digest('hex');
}

/** Ranks of a part: the most that any layer has, in whole pages. */
function ranksOf(pairs: readonly AdapterPair[], module: TargetModule): number {
  const most = Math.max(0, ...pairs.filter((pair) => pair.module === module).map(({ r }) => r));
  return Math.ceil(most / pageRanks) * pageRanks;
}

/** A as it is; B [out, r] transposed, times the scaling. */
function writePair(
  { layer, r, scaling, loraA, loraB }: AdapterPair,
  { in: inputs }: JoinedSizes,
  { ranks, a, b }: ResidentPart,
  values: (tensor: SafetensorsTensor) => Float32Array,
): void {
  const at = (layer ?? 0) * ranks;
  a.set(values(loraA), at * inputs);
  const source = values(loraB);
  const out = source.length / r;
  for (let rank = 0; rank < r; rank++) {
    const start = (at + rank) * out;
    for (let i = 0; i < out; i++) b[start + i] = scaling * source[i * r + rank]!;
  }
}
