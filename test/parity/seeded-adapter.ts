// Builds the adapters that seeded-adapters.json describes, byte for byte as seeded_adapter.py does for PEFT: the
// references need only seeds and configs. What the numbers are is said there.

import { readFileSync } from 'node:fs';
import { type TensorToWrite, writeSafetensors } from '../../src/formats/write-safetensors.ts';

type Linear = { readonly path: string; readonly in: number; readonly out: number };

type Pair = { readonly modules: readonly string[]; readonly r: number; readonly layers?: readonly number[] };

type FloatType = 'F32' | 'F16' | 'BF16';

export type SeededAdapter = {
  readonly name: string;
  readonly seed: number;
  readonly type: FloatType;
  /** Standard deviation of B. */
  readonly stdB: number;
  /** DoRA: magnitudes depend on the base model, so they are stored. */
  readonly magnitudes?: boolean;
  readonly config: Readonly<Record<string, unknown>>;
  readonly pairs: readonly Pair[];
};

/** The bytes of adapter_config.json and adapter_model.safetensors. */
export type AdapterFolder = { readonly config: Uint8Array; readonly weights: Uint8Array };

type Specs = {
  readonly linears: Readonly<Record<string, Linear>>;
  readonly layers: number;
  readonly common: Readonly<Record<string, unknown>>;
  readonly adapters: readonly SeededAdapter[];
};

const read = (name: string) => new Uint8Array(readFileSync(new URL(name, import.meta.url)));
const specs = JSON.parse(new TextDecoder().decode(read('seeded-adapters.json'))) as Specs;

export const seededAdapters = specs.adapters;

export function buildSeededAdapter(spec: SeededAdapter): AdapterFolder {
  const config = `${JSON.stringify({ ...specs.common, ...spec.config }, null, 2)}\n`;
  return {
    config: new TextEncoder().encode(config),
    weights: writeSafetensors([...tensorsOf(spec)], { format: 'pt' }),
  };
}

function* tensorsOf(spec: SeededAdapter): Generator<TensorToWrite> {
  const random = uniform(spec.seed);
  const magnitudes = spec.magnitudes ? new Float32Array(read('references/dora-magnitudes.bin').buffer) : null;
  let row = 0;
  for (const { path, linear, r } of modulesOf(spec)) {
    const tensor = (name: string, shape: [number, number], std: number): TensorToWrite => {
      const values = Float32Array.from({ length: shape[0] * shape[1] }, () => random() * (Math.sqrt(3) * std));
      return { name: `base_model.model.${path}.${name}`, type: spec.type, shape, bytes: encode(values, spec.type) };
    };
    yield tensor('lora_A.weight', [r, linear.in], 1 / Math.sqrt(linear.in));
    yield tensor('lora_B.weight', [linear.out, r], spec.stdB);
    if (magnitudes === null) continue;
    const bytes = encode(magnitudes.subarray(row, row + linear.out), 'F32');
    yield { name: `base_model.model.${path}.lora_magnitude_vector`, type: 'F32', shape: [linear.out], bytes };
    row += linear.out;
  }
}

function* modulesOf(spec: SeededAdapter): Generator<{ path: string; linear: Linear; r: number }> {
  for (const { modules, r, layers } of spec.pairs) {
    const linears = modules.map((name) => specs.linears[name]!);
    if (modules[0] === 'lm_head') {
      yield { path: linears[0]!.path, linear: linears[0]!, r };
      continue;
    }
    for (const layer of layers ?? Array.from({ length: specs.layers }, (_, i) => i)) {
      for (const linear of linears) yield { path: `model.layers.${layer}.${linear.path}`, linear, r };
    }
  }
}

/** -1 to 1. SplitMix32 as a counter's hash, so that NumPy can compute a whole tensor at once. */
function uniform(seed: number): () => number {
  let state = Math.imul(seed, 0x85ebca6b);
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let t = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    t = Math.imul(t ^ (t >>> 15), 0x735a2d97);
    return (((t ^ (t >>> 15)) >>> 0) / 2 ** 32) * 2 - 1;
  };
}

function encode(values: Float32Array, type: FloatType): Uint8Array {
  if (type === 'F32') return new Uint8Array(values.slice().buffer);
  if (type === 'F16') return new Uint8Array(new Float16Array(values).buffer);
  // The upper half of a float32, rounded to the nearest, ties to even.
  const bits = new Uint32Array(values.slice().buffer);
  return new Uint8Array(Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16).buffer);
}
