// Random adapters as PEFT's files, and their definition: W + scaling · B A for each linear, with each row scaled to its
// magnitude for DoRA. Knows none of the engine's own layouts.

import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AdapterFiles, linearSize, type TargetModule, targetModules } from '../../../src/core/adapter.ts';
import type { BaseModel, FloatType, ModelShape, RawTensor } from '../../../src/core/base-model.ts';
import { prng } from '../../../src/core/prng.ts';
import { adapterDigest } from '../../../src/formats/adapter-digest.ts';
import { pairValues } from '../../../src/formats/adapter-values.ts';
import { dequantize } from '../../../src/formats/dequantize.ts';
import { encodeFloats } from '../../../src/formats/encode-floats.ts';
import { moduleName, type PeftModule } from '../../../src/formats/peft-modules.ts';
import { parseSafetensorsHeader } from '../../../src/formats/safetensors.ts';
import { type PairToWrite, writePeftAdapter } from '../../../src/formats/write-peft.ts';
import { writeSafetensors } from '../../../src/formats/write-safetensors.ts';
import { temporaryFolder } from '../../helpers/tiny-lowered.ts';

export type AdapterPlan = {
  readonly seed: number;
  readonly modules: readonly TargetModule[];
  readonly r: number;
  /** Ranks of single modules, by full name or by its end. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly alpha?: number;
  readonly layers?: readonly number[];
  readonly dora?: boolean;
  /** Type of the tensors in the file; F32 by default. */
  readonly type?: 'F16' | 'BF16';
};

export type RandomPair = PairToWrite & PeftModule & { readonly scaling: number };

export type RandomAdapter = { readonly files: AdapterFiles; readonly pairs: readonly RandomPair[] };

export const everyModule = targetModules;
export const layerModules = targetModules.filter((module) => module !== 'lm_head');

/** Values that half floats hold, so that an adapter in memory equals the file, whatever the tensors' type. */
export function randomPairs(shape: ModelShape, plan: AdapterPlan): RandomPair[] {
  const random = prng(plan.seed);
  const floats = (length: number, from: number, to: number) =>
    Float32Array.from({ length }, () => Math.f16round(from + (to - from) * random()));
  const layers = plan.layers ?? Array.from({ length: shape.layers }, (_, layer) => layer);
  const places = plan.modules.flatMap((module): PeftModule[] =>
    module === 'lm_head' ? [{ layer: null, module }] : layers.map((layer) => ({ layer, module })),
  );
  return places.map((place) => {
    const name = moduleName(place);
    const pattern = Object.entries(plan.rankPattern ?? {}).find(([key]) => name === key || name.endsWith(`.${key}`));
    const r = pattern?.[1] ?? plan.r;
    const { in: inputs, out } = linearSize(shape, place.module);
    // Makes products about as large as the tiny models' own weights, whatever the rank.
    const width = 0.5 / r ** 0.25;
    return {
      ...place,
      r,
      scaling: (plan.alpha ?? 2 * plan.r) / r,
      loraA: floats(r * inputs, -width, width),
      loraB: floats(out * r, -width, width),
      ...(plan.dora ? { magnitude: floats(out, 0.5, 1.5) } : {}),
    };
  });
}

function configOf({ modules, r, rankPattern, alpha, layers, dora }: AdapterPlan): Record<string, unknown> {
  return {
    r,
    lora_alpha: alpha ?? 2 * r,
    target_modules: modules,
    ...(rankPattern ? { rank_pattern: rankPattern } : {}),
    ...(layers ? { layers_to_transform: layers } : {}),
    ...(dora ? { use_dora: true } : {}),
  };
}

export function randomAdapter(shape: ModelShape, plan: AdapterPlan): RandomAdapter {
  const pairs = randomPairs(shape, plan);
  return { files: writeAdapter(plan, pairs), pairs };
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export function writeAdapter(plan: AdapterPlan, pairs: readonly RandomPair[]): AdapterFiles {
  const { config, weights: floats } = writePeftAdapter(configOf(plan), pairs);
  return writeAdapterFiles(config, plan.type === undefined ? floats : encoded(floats, plan.type));
}

/** Writes an adapter's files, and gives them as the registry gives them to an engine. */
export function writeAdapterFiles(config: Uint8Array, weights: Uint8Array): AdapterFiles {
  const folder = temporaryFolder();
  const files = {
    digest: adapterDigest(sha256(config), sha256(weights)),
    config: join(folder, 'adapter_config.json'),
    weights: join(folder, 'adapter_model.safetensors'),
  };
  writeFileSync(files.config, config);
  writeFileSync(files.weights, weights);
  return files;
}

function encoded(weights: Uint8Array, type: FloatType): Uint8Array {
  const { tensors } = parseSafetensorsHeader(weights, weights.length)!;
  return writeSafetensors(
    tensors.map((tensor) => {
      const { name, shape, offset } = tensor;
      const values = pairValues(tensor, weights.subarray(offset, offset + tensor.bytes));
      return { name, shape, type, bytes: encodeFloats(type, Float64Array.from(values)) };
    }),
    { format: 'pt' },
  );
}

/** Adds scale · scaling · B A to W [out, in]; for DoRA also scales each row to its magnitude. */
export function mergePair(matrix: Float32Array, pair: RandomPair, scale: number): void {
  const { r, scaling, loraA, loraB, magnitude } = pair;
  const inputs = loraA.length / r;
  for (let out = 0; out < matrix.length / inputs; out++) {
    const row = matrix.subarray(out * inputs, (out + 1) * inputs);
    for (let i = 0; i < inputs; i++) {
      let product = 0;
      for (let rank = 0; rank < r; rank++) product += loraB[out * r + rank]! * loraA[rank * inputs + i]!;
      row[i]! += scale * scaling * product;
    }
    if (magnitude === undefined) continue;
    const gain = magnitude[out]! / Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    for (let i = 0; i < inputs; i++) row[i]! *= gain;
  }
}

export type ScaledAdapter = { readonly adapter: RandomAdapter; readonly scale: number };

/** The base model with the adapters merged into its floats. An adapted lm_head is not tied any more. */
export function mergedModel(base: BaseModel, scaled: readonly ScaledAdapter[]): BaseModel {
  const tensors = new Map(base.tensors);
  const floatTensor = (name: string, source: RawTensor) => {
    const { shape } = source;
    const values = dequantize(source.type, source.bytes(), shape[0]! * shape[1]!).slice();
    const bytes = () => new Uint8Array(values.buffer);
    tensors.set(name, { name, type: 'F32', shape, bytes });
    return values;
  };
  const merged = new Map<string, Float32Array>();
  for (const { adapter, scale } of scaled) {
    for (const pair of adapter.pairs) {
      const name = `${moduleName(pair)}.weight`;
      const isTied = pair.layer === null && base.shape.tiedEmbedding;
      const source = base.tensors.get(isTied ? 'model.embed_tokens.weight' : name)!;
      const values = merged.get(name) ?? floatTensor(name, source);
      merged.set(name, values);
      mergePair(values, pair, scale);
    }
  }
  const tiedEmbedding = base.shape.tiedEmbedding && !merged.has('lm_head.weight');
  return { shape: { ...base.shape, tiedEmbedding }, tensors };
}
