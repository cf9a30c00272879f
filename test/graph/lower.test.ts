import assert from 'node:assert/strict';
import test from 'node:test';
import type { BaseModel, RawTensor } from '../../src/core/base-model.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { dequantize } from '../../src/formats/dequantize.ts';
import { elementCount } from '../../src/formats/tensor-bytes.ts';
import { lower } from '../../src/graph/lower.ts';
import type { LinearBits } from '../../src/graph/lowered.ts';
import { tinyModel } from '../helpers/tiny-lowered.ts';
import { tinyModels } from '../helpers/tiny-models.ts';
import { linearValues } from './linear-values.ts';

const widths: readonly (LinearBits | null)[] = [null, 4, 8, 16, 32];
const floatsOf = ({ type, shape, bytes }: RawTensor) => dequantize(type, bytes(), elementCount(shape)!);

/** The file's tensors that one linear joins, in the order of its rows. */
function partsOf({ tensors, shape }: BaseModel, name: string): RawTensor[] {
  if (name === 'head') return [tensors.get(shape.tiedEmbedding ? 'model.embed_tokens.weight' : 'lm_head.weight')!];
  const [, layer, kind] = name.split('.') as [string, string, 'qkv' | 'output' | 'gate_up' | 'down'];
  const parts = {
    qkv: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
    output: ['self_attn.o_proj'],
    gate_up: ['mlp.gate_proj', 'mlp.up_proj'],
    down: ['mlp.down_proj'],
  }[kind];
  return parts.map((part) => tensors.get(`model.layers.${layer}.${part}.weight`)!);
}

/**
 * In steps of the weight's block. At 4 bits, values that would need code 16 are cut, and a step is an eighth of the
 * extreme.
 */
function assertWithin(values: Float32Array, expected: Float32Array, bits: 4 | 8, name: string): void {
  assert.equal(values.length, expected.length);
  for (let start = 0; start < values.length; start += 32) {
    const extreme = Math.max(...expected.subarray(start, start + 32).map(Math.abs));
    const allowed = bits === 4 ? extreme / 8 : extreme / 254;
    for (let i = start; i < start + 32; i++) {
      const error = Math.abs(values[i]! - expected[i]!);
      assert.ok(error <= allowed * 1.0001 + 1e-7, `${name}: ${values[i]} for ${expected[i]}, extreme ${extreme}`);
    }
  }
}

for (const name of tinyModels) {
  test(`${name}: lowered linears hold the file's weights, rows of q, k, v and of gate, up in this order`, async () => {
    const model = await tinyModel(name);
    for (const bits of widths) {
      const lowered = lower(model, bits);
      assert.equal(lowered.linears.size, 4 * model.shape.layers + 1);
      for (const [linear, form] of lowered.linears) {
        const parts = partsOf(model, linear);
        const expected = Float32Array.from(parts.flatMap((part) => [...floatsOf(part)]));
        const values = linearValues(lowered, linear);
        assert.deepEqual([form.n * form.k, form.k], [expected.length, parts[0]!.shape[1]]);
        if (bits !== null) assert.equal(form.bits, bits);
        if (form.bits === 32) assert.deepEqual(values, expected);
        else if (form.bits === 16) assert.deepEqual(values, Float32Array.from(expected, Math.f16round));
        else assertWithin(values, expected, form.bits, `${linear} at ${bits} bits`);
      }
    }
  });

  test(`${name}: vectors, biases and the embedding are the file's floats`, async () => {
    const model = await tinyModel(name);
    const { weights, linears } = lower(model, 32);
    const same = (lowered: string, source: string) =>
      assert.deepEqual(weights.get(lowered)!.data, floatsOf(model.tensors.get(source)!), lowered);
    same('norm', 'model.norm.weight');
    same('embedding', 'model.embed_tokens.weight');
    same('layers.1.attention_norm', 'model.layers.1.input_layernorm.weight');
    same('layers.1.mlp_norm', 'model.layers.1.post_attention_layernorm.weight');
    assert.equal(weights.has('layers.0.q_norm'), name === 'qwen3');
    if (name === 'qwen3') same('layers.1.k_norm', 'model.layers.1.self_attn.k_norm.weight');
    assert.equal(linears.get('layers.0.qkv')!.bias, name === 'qwen2');
    if (name !== 'qwen2') return;
    const biases = ['q', 'k', 'v'].flatMap((part) => [
      ...floatsOf(model.tensors.get(`model.layers.1.self_attn.${part}_proj.bias`)!),
    ]);
    assert.deepEqual([...weights.get('layers.1.qkv.bias')!.data], biases);
  });
}

test('a tied head of 8 bits is the embedding too, and is not kept twice', async () => {
  const model = await tinyModel('llama');
  assert.equal(model.shape.tiedEmbedding, true);
  for (const bits of widths) assert.equal(lower(model, bits).weights.has('embedding'), bits !== null && bits !== 8);
});

test('a weight that half floats do not reach is refused, and held in 32 bits', () => {
  const { shape, tensors } = modelOfWidth(64);
  const name = 'model.layers.0.mlp.up_proj.weight';
  const values = floatsOf(tensors.get(name)!);
  values[5] = -7e4;
  const bytes = new Uint8Array(values.buffer);
  const model = {
    shape,
    tensors: new Map(tensors).set(name, { ...tensors.get(name)!, type: 'F32', bytes: () => bytes }),
  };
  assert.throws(() => lower(model, 16), { code: 'model_unsupported', message: /32 bits/ });
  assert.ok(linearValues(lower(model, 32), 'layers.0.gate_up').includes(-7e4));
});

test('rows that are not whole blocks stay floats, at whatever width the rest is', () => {
  const k = 48;
  const lowered = lower(modelOfWidth(k), 4);
  for (const [name, { bits }] of lowered.linears) assert.equal(bits, name.endsWith('.down') ? 4 : 32, name);
  for (const { bits } of lower(modelOfWidth(k), 16).linears.values()) assert.equal(bits, 16);
});

test('a missing tensor is named', () => {
  const { shape, tensors } = modelOfWidth(64);
  const without = new Map(tensors);
  without.delete('model.layers.0.mlp.up_proj.weight');
  assert.throws(
    () => lower({ shape, tensors: without }, null),
    (error) =>
      error instanceof LorikeetError &&
      error.code === 'model_file_invalid' &&
      /mlp\.up_proj\.weight/.test(error.message),
  );
});

/**
 * A model of one layer of ones, of which only the down projection [hidden, 64] is sure to have rows of whole blocks.
 */
function modelOfWidth(hidden: number): BaseModel {
  const tensors = new Map<string, RawTensor>();
  const add = (name: string, shape: readonly number[]) => {
    const data = new Float32Array(elementCount(shape)!).fill(1);
    tensors.set(name, { name, type: 'F32', shape, bytes: () => new Uint8Array(data.buffer) });
  };
  for (const part of ['q', 'k', 'v', 'o']) add(`model.layers.0.self_attn.${part}_proj.weight`, [hidden, hidden]);
  for (const part of ['gate', 'up']) add(`model.layers.0.mlp.${part}_proj.weight`, [64, hidden]);
  add('model.layers.0.mlp.down_proj.weight', [hidden, 64]);
  for (const name of ['layers.0.input_layernorm', 'layers.0.post_attention_layernorm', 'norm']) {
    add(`model.${name}.weight`, [hidden]);
  }
  add('model.embed_tokens.weight', [32, hidden]);
  return {
    shape: {
      architecture: 'llama',
      layers: 1,
      hidden,
      intermediate: 64,
      heads: 1,
      kvHeads: 1,
      headDim: hidden,
      vocabulary: 32,
      context: 64,
      ropeTheta: 1e4,
      ropeScaling: null,
      rmsNormEps: 1e-5,
      tiedEmbedding: true,
    },
    tensors,
  };
}
