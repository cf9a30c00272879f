// Reads an adapter's files into matrices in memory. The work is done in small pieces between which the event loop has
// its turn, so that others' steps go on. The digest that the request pinned proves what the bytes are.

import { createHash } from 'node:crypto';
import type { AdapterFiles, TargetModule } from '../../core/adapter.ts';
import { limits } from '../../core/limits.ts';
import type { AdapterBits } from '../../core/page-sizes.ts';
import { damagedAdapter, proveDigest } from '../../formats/adapter-digest.ts';
import { pairValues } from '../../formats/adapter-values.ts';
import { type AdapterPair, readPeftAdapter } from '../../formats/peft-adapter.ts';
import type { TrainedTokens } from '../../formats/peft-embedding.ts';
import { readVirtualTokens } from '../../formats/peft-virtual-tokens.ts';
import { invalidAdapter, unsupportedAdapter } from '../../formats/refuse-adapter.ts';
import { parseSafetensorsHeader, type SafetensorsTensor } from '../../formats/safetensors.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import { rowReader } from '../../graph/dequantize-row.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import { readWhole } from '../../models/read-whole.ts';
import type { Breath } from './breath.ts';
import { codedAdapter } from './coded-adapter.ts';
import { type FloatPair, type GainTarget, gainsOf } from './dora-gains.ts';
import { differencesOf, readEmbeddingChange } from './embedding-change.ts';
import { balancedShare, mantissaOf, writeBalanced, writeHalves } from './half-pair.ts';
import {
  createLinear,
  createPart,
  createResident,
  firstOutput,
  type JoinedSizes,
  joinedSizes,
  type ResidentAdapter,
  type ResidentLinear,
} from './resident-adapter.ts';
import { readVirtualRows } from './virtual-rows.ts';

export type ReadContext = {
  readonly model: LoweredModel;
  readonly breath: Breath;
  /** Whether the adapter is for a device, which refuses virtual tokens and changed embeddings; false by default. */
  readonly onDevice?: boolean;
  /** Bits of the adapter's values; 16 by default. */
  readonly bits?: AdapterBits;
};

/** Throws `adapter_corrupt` where the files are missing or are not what the digest says. */
export async function readAdapter(files: AdapterFiles, context: ReadContext): Promise<ResidentAdapter> {
  const { model, breath, onDevice = false } = context;
  const { shape } = model;
  const [config, weights] = await readProved(files, breath);
  const header = parseSafetensorsHeader(weights, weights.length)!;
  const virtual = readVirtualTokens(config, header, shape);
  if (virtual !== null) {
    if (onDevice) unsupportedAdapter('peft_type', 'is one of virtual tokens, which a device does not serve');
    return createResident(files.digest, new Map(), { virtual: await readVirtualRows(virtual, weights, context) });
  }
  const { pairs, embedding } = readPeftAdapter(config, header, shape);
  if (onDevice && (embedding.pair ?? embedding.tokens) !== null) {
    unsupportedAdapter('embed_tokens', 'is changed by the adapter, which a device does not serve');
  }
  const bytesOf = ({ offset, bytes }: SafetensorsTensor) => weights.subarray(offset, offset + bytes);

  const linears = new Map<JoinedLinear, ResidentLinear>();
  for (const sizes of joinedSizes(shape)) {
    const own = pairs.filter(({ module }) => sizes.modules.includes(module));
    const { headTokens: tokens } = embedding;
    if (sizes.linear === 'head' && tokens !== null) {
      linears.set('head', await readHead({ pair: own[0] ?? null, tokens }, sizes, bytesOf, context));
    } else if (own.length > 0) linears.set(sizes.linear, await readLinear(own, sizes, bytesOf, context));
  }
  const change = await readEmbeddingChange(embedding, bytesOf, context);
  const whole = createResident(files.digest, linears, { embedding: change ? [{ change, scale: 1 }] : [] });
  return context.bits === 8 ? codedAdapter(whole, shape, breath) : whole;
}

type BytesOf = (tensor: SafetensorsTensor) => Uint8Array;

/** @param pairs pairs of the linear's parts, in any layers, at least one */
async function readLinear(
  pairs: readonly AdapterPair[],
  sizes: JoinedSizes,
  bytesOf: BytesOf,
  context: ReadContext,
): Promise<ResidentLinear> {
  const parts = sizes.modules.map((module, part) => createPart(sizes, part, ranksOf(pairs, module)));
  const placeOf = ({ module, layer }: AdapterPair) => ({ part: sizes.modules.indexOf(module), layer: layer ?? 0 });
  const { scaling } = pairs[0]!;
  // Codes of 8 bits want values of like size in A and B, as balanced half floats have, so they are made from balanced
  // pairs.
  if (context.bits !== 8 && pairs.every((pair) => isHalf(pair) && pair.scaling === scaling)) {
    for (const pair of pairs) {
      const { part, layer } = placeOf(pair);
      const [a, b] = [halvesOf(bytesOf(pair.loraA)), halvesOf(bytesOf(pair.loraB))];
      writeHalves(parts[part]!, sizes, layer, { a, b });
      await context.breath.take();
    }
    return createLinear(parts, scaling, null);
  }
  const hasGains = pairs.some(({ magnitude }) => magnitude !== null);
  // Where all pairs have the same scaling, its factor that is no power of two goes into the pages' shares.
  const share = !hasGains && pairs.every((pair) => pair.scaling === scaling) ? mantissaOf(scaling) : 1;
  const gains = hasGains ? new Float32Array(sizes.layers * sizes.out).fill(1) : null;
  for (const pair of pairs) {
    const { part, layer } = placeOf(pair);
    const floats = floatsOf(pair, pair.scaling / share, bytesOf);
    if (pair.magnitude !== null) {
      const own = await multiplyByGains(pair, { sizes, layer, part }, floats, bytesOf, context);
      gains!.set(own, layer * sizes.out + firstOutput(sizes, part));
    }
    if (!writeBalanced(parts[part]!, sizes, layer, floats)) {
      invalidAdapter(pair.loraB.name, 'has products that are too large for the base model');
    }
    await context.breath.take();
  }
  return createLinear(parts, share * balancedShare, gains);
}

/**
 * Reads the head with rows of single tokens. These become ranks behind the pair's own: each is the product of the
 * difference to the base's row and a unit vector at the token.
 */
async function readHead(
  { pair, tokens }: { readonly pair: AdapterPair | null; readonly tokens: TrainedTokens },
  sizes: JoinedSizes,
  bytesOf: BytesOf,
  { model, breath }: ReadContext,
): Promise<ResidentLinear> {
  const { in: inputs, out } = sizes;
  const own = pair?.r ?? 0;
  const part = createPart(sizes, 0, own + tokens.ids.length);
  const write = (first: number, { name }: SafetensorsTensor, floats: FloatPair) => {
    const ranks = { ...part, a: part.a.subarray(first * inputs), b: part.b.subarray(first * out) };
    if (!writeBalanced(ranks, sizes, 0, floats)) invalidAdapter(name, 'is too large for the base model');
  };
  if (pair !== null) write(0, pair.loraB, floatsOf(pair, pair.scaling, bytesOf));
  const differences = await differencesOf(tokens, bytesOf, rowReader(model, 'head'), breath);
  const b = new Float32Array(out);
  for (const [i, id] of tokens.ids.entries()) {
    b[id] = 1;
    write(own + i, tokens.rows, { a: differences.subarray(i * inputs, (i + 1) * inputs), b });
    b[id] = 0;
    await breath.take();
  }
  return createLinear([part], balancedShare, null);
}

const isHalf = ({ loraA, loraB, magnitude }: AdapterPair) =>
  loraA.type === 'F16' && loraB.type === 'F16' && magnitude === null;

/**
 * Copies bytes, which may lie at any offset of a file, to where 16-bit numbers may lie. (A Buffer's slice would be no
 * copy.)
 */
const halvesOf = (bytes: Uint8Array): Uint16Array => new Uint16Array(new Uint8Array(bytes).buffer);

/** A [r, in], and B transposed, [r, out], the latter times `factor`. */
function floatsOf({ r, loraA, loraB }: AdapterPair, factor: number, bytesOf: BytesOf): FloatPair {
  const source = pairValues(loraB, bytesOf(loraB));
  const out = source.length / r;
  const b = new Float32Array(source.length);
  for (let rank = 0; rank < r; rank++) {
    for (let i = 0; i < out; i++) b[rank * out + i] = factor * source[i * r + rank]!;
  }
  return { a: pairValues(loraA, bytesOf(loraA)), b };
}

/** Computes DoRA's gains [out] of a pair's outputs, and multiplies them into its B. */
async function multiplyByGains(
  { magnitude }: AdapterPair,
  target: GainTarget,
  pair: FloatPair,
  bytesOf: BytesOf,
  { model, breath }: ReadContext,
): Promise<Float32Array> {
  const lengths = pairValues(magnitude!, bytesOf(magnitude!));
  const gains = await gainsOf(model, target, pair, lengths, breath);
  // A base row that is nearly zero makes a gain huge.
  if (!gains.every((gain) => Math.abs(gain) < limits.adapterGain)) {
    invalidAdapter(magnitude!.name, 'stretches a row of the base model beyond measure');
  }
  for (let i = 0; i < pair.b.length; i++) pair.b[i]! *= gains[i % gains.length]!;
  return gains;
}

async function readProved(files: AdapterFiles, breath: Breath): Promise<[Uint8Array, Uint8Array]> {
  let contents: [Uint8Array, Uint8Array];
  try {
    contents = await Promise.all([readWhole(files.config), readWhole(files.weights)]);
  } catch (error) {
    throw damagedAdapter(files.digest, `its files cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
  proveDigest(files.digest, await sha256(contents[0], breath), await sha256(contents[1], breath));
  return contents;
}

const hashedAtOnce = 2 ** 20;

async function sha256(bytes: Uint8Array, breath: Breath): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += hashedAtOnce) {
    hash.update(bytes.subarray(at, at + hashedAtOnce));
    await breath.take();
  }
  return hash.digest('hex');
}

/** Ranks of a part: the most that any layer has. */
const ranksOf = (pairs: readonly AdapterPair[], module: TargetModule): number =>
  Math.max(0, ...pairs.filter((pair) => pair.module === module).map(({ r }) => r));
