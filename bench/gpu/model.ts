// The base model of a run: a named one, lowered as the engine does, or random weights in the shape of a Llama.

import { join } from 'node:path';
import type { Config } from '../../src/config.ts';
import type { ModelShape } from '../../src/core/base-model.ts';
import { BFloat16Array, toBfloat16 } from '../../src/core/bfloat16.ts';
import type { LinearBits, LinearForm, LoweredModel, LoweredTensor } from '../../src/graph/lowered.ts';
import { blockSize } from '../../src/graph/quantized.ts';
import type { Real } from '../../src/graph/target.ts';
import { loadWeights } from '../../src/graph/weights.ts';
import { modelSources } from '../../src/main/model.ts';
import { resolveModel } from '../../src/models/resolve.ts';
import { elementCount } from '../../src/runtime/session.ts';

const llama = {
  architecture: 'llama',
  context: 8192,
  ropeTheta: 500_000,
  ropeScaling: null,
  rmsNormEps: 1e-5,
} as const;

/** Shapes of Llama 3.2 1B, Llama 3.1 8B, SmolLM2 135M, and a tiny one that a processor runs in no time. */
export const randomShapes: Readonly<Record<string, ModelShape>> = {
  '8b': shape([32, 4096, 14_336, 32, 8, 128, 128_256], false),
  '1b': shape([16, 2048, 8192, 32, 8, 64, 128_256], true),
  '135m': shape([30, 576, 1536, 9, 3, 64, 49_152], true),
  tiny: shape([2, 64, 128, 4, 2, 16, 512], true),
};

function shape(sizes: readonly number[], tiedEmbedding: boolean): ModelShape {
  const [layers, hidden, intermediate, heads, kvHeads, headDim, vocabulary] = sizes as [
    ...[number, number, number, number, number, number, number],
  ];
  return { ...llama, layers, hidden, intermediate, heads, kvHeads, headDim, vocabulary, tiedEmbedding };
}

/** Opens the model. `name`: as for --model, or `random:1b`. */
export async function benchModel(
  name: string | null,
  bits: LinearBits | null,
  config: Config,
  real: Real = 'float32',
): Promise<LoweredModel> {
  const random = /^random:(.+)$/.exec(name ?? '')?.[1];
  if (random !== undefined) {
    const known = randomShapes[random];
    if (!known) throw new Error(`--model random: has the shapes ${Object.keys(randomShapes).join(', ')}`);
    return randomModel(known, bits ?? 32, real);
  }
  const files = await resolveModel(name ?? config.model, { ...modelSources(config), log: console.error });
  return (await loadWeights(files, bits, join(config.dataDir, 'weights'), console.warn)).model;
}

/**
 * Makes random weights, small enough that nothing overflows. All matrices are views of one array, so that a model of
 * billions of weights is ready at once; on a device each gets memory of its own, as in a real model.
 */
function randomModel(shape: ModelShape, bits: LinearBits, real: Real): LoweredModel {
  const { hidden, intermediate, heads, kvHeads, headDim, vocabulary } = shape;
  const linears = new Map<string, LinearForm>();
  const weights = new Map<string, LoweredTensor>();
  const largest =
    Math.max(vocabulary, 2 * intermediate, (heads + 2 * kvHeads) * headDim) * Math.max(hidden, intermediate);
  const pool = pattern(Math.min(largest, Math.max(vocabulary * hidden, 2 * intermediate * hidden)), real);
  const codes = new Uint8Array(pool.buffer);
  const floats = (shape: readonly number[]): LoweredTensor => ({
    type: 'float32',
    shape,
    data: pool.subarray(0, elementCount(shape)),
  });
  const linear = (name: string, n: number, k: number) => {
    linears.set(name, { bits, n, k, corrected: false, halves: false, bias: false });
    if (bits === 32) {
      weights.set(`${name}.matrix`, floats([k, n]));
      return;
    }
    const data = codes.subarray(0, (n * k * bits) / 8);
    weights.set(`${name}.blocks`, { type: 'uint8', shape: [n, k / blockSize, 4 * bits], data });
    weights.set(`${name}.scales`, floats([(n * k) / blockSize]));
  };
  for (let i = 0; i < shape.layers; i++) {
    linear(`layers.${i}.qkv`, (heads + 2 * kvHeads) * headDim, hidden);
    linear(`layers.${i}.output`, hidden, heads * headDim);
    linear(`layers.${i}.gate_up`, 2 * intermediate, hidden);
    linear(`layers.${i}.down`, hidden, intermediate);
    for (const norm of ['attention_norm', 'mlp_norm']) weights.set(`layers.${i}.${norm}`, ones(hidden));
  }
  weights.set('norm', ones(hidden));
  linear('head', vocabulary, hidden);
  weights.set('embedding', floats([vocabulary, hidden]));
  return { shape, linears, weights };
}

const ones = (length: number): LoweredTensor => ({
  ...{ type: 'float32', shape: [length], data: new Float32Array(length).fill(1) },
});

const arrays = { float32: Float32Array, float16: Float16Array, bfloat16: BFloat16Array } as const;

/** Repeated uniform numbers around 0, in the float type of the device. */
function pattern(elements: number, real: Real): Float32Array<ArrayBuffer> {
  const length = Math.min(elements, 65_521);
  const first = Float32Array.from({ length }, (_, i) => (((i * 2_654_435_761) >>> 0) / 2 ** 31 - 1) / 64);
  // 16-bit floats go to the device unchanged: no code in between reads them as numbers.
  const data = new arrays[real](elements) as Float32Array<ArrayBuffer>;
  data.set(real === 'bfloat16' ? toBfloat16(first) : first);
  for (let done = length; done < elements; done *= 2) data.copyWithin(done, 0, Math.min(done, elements - done));
  return data;
}
