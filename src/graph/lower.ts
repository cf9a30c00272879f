// Lowers a base model. Linears that read the same input (q, k, v; gate, up) are joined, so that their input is
// quantised once and one operator fills all cores. The joined rows are in the order of `joinedLinears`.

import type { BaseModel, RawTensor } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { modelPlan } from '../core/layer-plan.ts';
import { dequantize } from '../formats/dequantize.ts';
import { elementCount } from '../formats/tensor-bytes.ts';
import { isFloats, type LinearBits, type LinearForm, type LoweredModel, type LoweredTensor } from './lowered.ts';
import {
  createPackedFloats,
  fitsHalves,
  type PackedForm,
  packedBytes,
  packedFloatTensor,
  packedRows,
  packedTensor,
  writeFloats,
} from './packed.ts';
import { bitsFor, blockSize, type CodeBits, nativeBits, type Quantized, quantize } from './quantized.ts';
import { type TakeMemory, weightMemory } from './weight-memory.ts';

/**
 * `bits` sets the width of the layers' linears and the head; null keeps each tensor's own, and takes 8 bits for floats.
 */
export function lower(model: BaseModel, bits: LinearBits | null): LoweredModel {
  const linears = new Map<string, LinearForm>();
  const weights = new Map<string, LoweredTensor>();
  const memory = weightMemory();
  const raw = (name: string) => {
    const tensor = model.tensors.get(name);
    if (!tensor) throw new LorikeetError('model_file_invalid', { message: `The model has no tensor ${name}.` });
    return tensor;
  };
  const linear = (name: string, parts: readonly string[]) => {
    const tensors = parts.map((part) => raw(`${part}.weight`));
    const biases = parts.map((part) => model.tensors.get(`${part}.bias`));
    const form = addLinear({ weights, memory }, name, tensors, bits);
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
  const offset = model.shape.norms === 'around one' ? 1 : 0;
  const norm = (name: string, source: string, scale = 1) => {
    const tensor = raw(source);
    weights.set(
      name,
      float(
        tensor.shape,
        floats(tensor).map((weight) => scale * (offset + weight)),
      ),
    );
  };
  const plan = modelPlan(model.shape);

  for (const [i, { outputNorms }] of plan.layers.entries()) {
    const layer = `layers.${i}`;
    const from = `model.layers.${i}`;
    linear(
      `${layer}.qkv`,
      ['q', 'k', 'v'].map((part) => `${from}.self_attn.${part}_proj`),
    );
    linear(`${layer}.output`, [`${from}.self_attn.o_proj`]);
    linear(`${layer}.gate_up`, [`${from}.mlp.gate_proj`, `${from}.mlp.up_proj`]);
    linear(`${layer}.down`, [`${from}.mlp.down_proj`]);
    for (const [name, source] of Object.entries(outputNorms ? aroundNorms : beforeNorms)) {
      norm(`${layer}.${name}`, `${from}.${source}.weight`);
    }
    for (const part of ['q', 'k']) {
      const source = `${from}.self_attn.${part}_norm.weight`;
      if (model.tensors.has(source)) norm(`${layer}.${part}_norm`, source);
    }
  }
  norm('norm', 'model.norm.weight', plan.lastNormScale);
  linear('head', [model.shape.tiedEmbedding ? 'model.embed_tokens' : 'lm_head']);
  const head = linears.get('head')!;
  // A tied 8-bit embedding is read from the head's blocks; any other is kept as floats.
  if (!(model.shape.tiedEmbedding && head.bits === 8 && !head.corrected)) {
    vector('embedding', 'model.embed_tokens.weight');
  }
  return { shape: model.shape, linears, weights };
}

/** The norms of a layer and their sources in the file: norms before its halves, or before and behind them. */
const beforeNorms = { attention_norm: 'input_layernorm', mlp_norm: 'post_attention_layernorm' };
const aroundNorms = {
  attention_norm: 'input_layernorm',
  output_norm: 'post_attention_layernorm',
  mlp_norm: 'pre_feedforward_layernorm',
  down_norm: 'post_feedforward_layernorm',
};

/** Joins rows of `tensors` [n_i, k] into one linear and adds it to `weights`. */
function addLinear(
  { weights, memory }: { readonly weights: Map<string, LoweredTensor>; readonly memory: TakeMemory },
  name: string,
  tensors: readonly RawTensor[],
  forced: LinearBits | null,
): Omit<LinearForm, 'bias'> {
  const k = tensors[0]!.shape[1]!;
  const n = tensors.reduce((rows, tensor) => rows + tensor.shape[0]!, 0);
  const asked = forced ?? (Math.max(...tensors.map((t) => nativeBits(t.type))) as CodeBits);
  const bits = bitsFor(k, asked);
  if (isFloats(bits)) {
    const data = createPackedFloats(bits, n, k, memory);
    const values = join(tensors.map(floats));
    for (let row = 0; row < n; row++) writeFloats(data, k, row, values.subarray(row * k, (row + 1) * k));
    weights.set(`${name}.packed`, packedFloatTensor(n, k, data));
    return { bits, n, k, corrected: false, halves: false };
  }
  const parts = tensors.map((tensor) => quantize(tensor, bits));
  const corrected = parts.some((part) => part.minimums);
  const halves = parts.every((part) => fitsHalves(bits, part.scales, part.minimums));
  const form = { bits, n, k, corrected, halves };
  weights.set(`${name}.packed`, packedTensor(pack(parts, form, memory(packedBytes(form)))));
  return form;
}

/** @param data zeros, into which the rows are written */
function pack(parts: readonly Quantized[], form: PackedForm, data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const { k } = form;
  const blocks = k / blockSize;
  const rows = packedRows(form, data);
  const none = new Float64Array(blocks);
  let row = 0;
  for (const { codes, scales, minimums } of parts) {
    for (let at = 0; at < codes.length / k; at++) {
      const [from, to] = [at * blocks, (at + 1) * blocks];
      rows.write(row++, {
        codes: codes.subarray(at * k, (at + 1) * k),
        scales: scales.subarray(from, to),
        minimums: minimums?.subarray(from, to) ?? none,
      });
    }
  }
  return data;
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
