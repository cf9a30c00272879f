// Base model -> lowered model. Linears that read the same input (q, k, v; gate, up) become one, so that their input is
// quantised once and one operator fills all cores. Adapters keep PEFT's names: the joined rows stay in that order.

import type { BaseModel, RawTensor } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { dequantize } from '../formats/dequantize.ts';
import { elementCount } from '../formats/tensor-bytes.ts';
import type { LinearBits, LinearForm, LoweredModel, LoweredTensor } from './lowered.ts';
import { blockSize, nativeBits, type Quantized, quantize } from './quantized.ts';

/** `bits` forces a width on the decoder's linears and the head; null keeps each tensor's own, floats at 8. */
export function lower(model: BaseModel, bits: LinearBits | null): LoweredModel {
  const linears = new Map<string, LinearForm>();
  const weights = new Map<string, LoweredTensor>();
  const raw = (name: string) => {
    const tensor = model.tensors.get(name);
    if (!tensor) throw new LorikeetError('model_file_invalid', { message: `The model has no tensor ${name}.` });
    return tensor;
  };
  const linear = (name: string, parts: readonly string[]) => {
    const tensors = parts.map((part) => raw(`${part}.weight`));
    const biases = parts.map((part) => model.tensors.get(`${part}.bias`));
    const form = addLinear(weights, name, tensors, bits);
    const bias = biases.some((tensor) => tensor);
    if (bias) {
      const values = biases.map((tensor, i) => (tensor ? floats(tensor) : new Float32Array(tensors[i]!.shape[0]!)));
      weights.set(`${name}.bias`, float([form.n], join(values)));
    }
    linears.set(name, { ...form, bias });
  };
  const vector = (name: string, source: string) => {
    const tensor = raw(source);
    weights.set(name, float(tensor.shape, floats(tensor)));
  };

  for (let i = 0; i < model.shape.layers; i++) {
    const layer = `layers.${i}`;
    const from = `model.layers.${i}`;
    linear(
      `${layer}.qkv`,
      ['q', 'k', 'v'].map((part) => `${from}.self_attn.${part}_proj`),
    );
    linear(`${layer}.output`, [`${from}.self_attn.o_proj`]);
    linear(`${layer}.gate_up`, [`${from}.mlp.gate_proj`, `${from}.mlp.up_proj`]);
    linear(`${layer}.down`, [`${from}.mlp.down_proj`]);
    vector(`${layer}.attention_norm`, `${from}.input_layernorm.weight`);
    vector(`${layer}.mlp_norm`, `${from}.post_attention_layernorm.weight`);
    for (const part of ['q', 'k']) {
      const source = `${from}.self_attn.${part}_norm.weight`;
      if (model.tensors.has(source)) vector(`${layer}.${part}_norm`, source);
    }
  }
  vector('norm', 'model.norm.weight');
  linear('head', [model.shape.tiedEmbedding ? 'model.embed_tokens' : 'lm_head']);
  const head = linears.get('head')!;
  // A tied 8-bit embedding is read out of the head's blocks; any other is kept as floats.
  if (!(model.shape.tiedEmbedding && head.bits === 8 && !head.corrected)) {
    vector('embedding', 'model.embed_tokens.weight');
  }
  return { shape: model.shape, linears, weights };
}

/** Joins rows of `tensors` [n_i, k] into one linear and adds its parts to `weights`. */
function addLinear(
  weights: Map<string, LoweredTensor>,
  name: string,
  tensors: readonly RawTensor[],
  forced: LinearBits | null,
): Omit<LinearForm, 'bias'> {
  const k = tensors[0]!.shape[1]!;
  const n = tensors.reduce((rows, tensor) => rows + tensor.shape[0]!, 0);
  const bits = k % blockSize !== 0 ? 32 : (forced ?? (Math.max(...tensors.map((t) => nativeBits(t.type))) as 4 | 8));
  if (bits === 32) {
    weights.set(`${name}.matrix`, float([k, n], transpose(join(tensors.map(floats)), n, k)));
    return { bits, n, k, corrected: false };
  }
  const parts = tensors.map((tensor) => quantize(tensor, bits));
  const corrected = parts.some((part) => part.minimums);
  const blocks = k / blockSize;
  weights.set(`${name}.blocks`, { type: 'uint8', shape: [n, blocks, 4 * bits], data: pack(parts, n * k, bits) });
  weights.set(`${name}.scales`, float([n * blocks], join(parts.map((part) => part.scales))));
  if (corrected) {
    const minimums = join(parts.map((part) => part.minimums ?? new Float32Array(part.scales.length)));
    weights.set(`${name}.minimums`, float([blocks, n], transpose(minimums, n, blocks)));
  }
  return { bits, n, k, corrected };
}

/** MatMulNBits' packing: at 4 bits, weights 2j and 2j + 1 are the low and the high half of byte j. */
function pack(parts: readonly Quantized[], count: number, bits: 4 | 8): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array((count * bits) / 8);
  let at = 0;
  for (const { codes } of parts) {
    if (bits === 8) packed.set(codes, at);
    else for (let i = 0; i < codes.length; i += 2) packed[at + i / 2] = codes[i]! | (codes[i + 1]! << 4);
    at += (codes.length * bits) / 8;
  }
  return packed;
}

const float = (shape: readonly number[], data: Float32Array<ArrayBuffer>): LoweredTensor => ({
  type: 'float32',
  shape,
  data,
});

const floats = (tensor: RawTensor) => dequantize(tensor.type, tensor.bytes(), elementCount(tensor.shape)!);

function join(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const joined = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** [rows, columns] -> [columns, rows] */
function transpose(matrix: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const transposed = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      transposed[column * rows + row] = matrix[row * columns + column]!;
    }
  }
  return transposed;
}
