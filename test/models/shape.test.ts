import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GgufFile, GgufTensor, GgufValue } from '../../src/formats/gguf.ts';
import { configShape } from '../../src/models/config-shape.ts';
import { ggufShape } from '../../src/models/gguf-shape.ts';
import { accepts, assertRefuses } from '../formats/refusal.ts';
import { tinyConfig, tinyShape } from './model-folder.ts';

test('config.json gives the shape, in both spellings of rotary positions', () => {
  assert.deepEqual(configShape(tinyConfig, true), tinyShape);
  const { rope_theta: _, ...rest } = tinyConfig;
  const linear = { rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 500_000 } };
  const shape = configShape({ ...rest, ...linear }, true);
  assert.equal(shape.ropeTheta, 500_000);
  assert.deepEqual(shape.ropeScaling, { kind: 'linear', factor: 2 });
  assert.deepEqual(configShape({ ...tinyConfig, rope_scaling: { type: 'linear', factor: 4 } }, true).ropeScaling, {
    kind: 'linear',
    factor: 4,
  });
});

test('defaults of config.json are those of transformers', () => {
  const { num_key_value_heads: _, rope_theta: __, ...silent } = tinyConfig;
  const shape = configShape({ ...silent, head_dim: null }, true);
  assert.deepEqual([shape.kvHeads, shape.headDim, shape.ropeTheta], [2, 4, 10_000]);
});

const configRefusals: [change: object, reason: RegExp, code?: 'model_unsupported'][] = [
  [{ model_type: 'gpt2' }, /model_type "gpt2"; supported are llama, mistral, qwen2, qwen3/, 'model_unsupported'],
  [{ model_type: 'constructor' }, /model_type "constructor"/, 'model_unsupported'],
  [{ model_type: 7 }, /model_type must be a text/],
  [{ architectures: ['LlamaForSequenceClassification'] }, /it must be LlamaForCausalLM/, 'model_unsupported'],
  [{ hidden_act: 'gelu' }, /hidden_act "gelu"/, 'model_unsupported'],
  [{ attention_bias: true }, /attention_bias/, 'model_unsupported'],
  [{ mlp_bias: true }, /mlp_bias/, 'model_unsupported'],
  [{ use_sliding_window: true }, /use_sliding_window/, 'model_unsupported'],
  [{ sliding_window: 32 }, /sliding-window/, 'model_unsupported'],
  [{ model_type: 'smollm3', architectures: null, no_rope_layers: [1] }, /no_rope_layers/, 'model_unsupported'],
  [{ model_type: 'phi3', architectures: null, partial_rotary_factor: 0.3 }, /on 1 of 4/, 'model_unsupported'],
  [{ model_type: 'gemma3_text', architectures: null, hidden_activation: 'gelu' }, /"gelu"/, 'model_unsupported'],
  [{ model_type: 'gemma3_text', architectures: null, layer_types: ['linear'] }, /layer_types/, 'model_unsupported'],
  [{ quantization_config: {} }, /quantization_config/, 'model_unsupported'],
  [{ partial_rotary_factor: 0.5 }, /partial_rotary_factor/, 'model_unsupported'],
  [{ rope_scaling: { rope_type: 'dynamic', factor: 2 } }, /rope scaling "dynamic"/, 'model_unsupported'],
  [{ rope_scaling: { rope_type: 'yarn' } }, /factor is missing/],
  [{ rope_scaling: { rope_type: 'longrope', short_factor: [1] } }, /long_factor/, 'model_unsupported'],
  [{ rope_scaling: { rope_type: 'longrope', short_factor: [1], long_factor: [1] } }, /1 and 1 factors for 2 rotary/],
  [{ model_type: 'qwen3_moe', num_experts: 8 }, /"qwen3_moe" is a mixture of experts/, 'model_unsupported'],
  [{ model_type: 'mixtral', num_local_experts: 8 }, /mixture of experts/, 'model_unsupported'],
  [{ rope_scaling: { rope_type: 'llama3', factor: 8 } }, /low_freq_factor is missing/],
  [{ hidden_size: undefined }, /hidden_size is missing/],
  [{ hidden_size: 1e9 }, /hidden_size must be an integer from 1 to/],
  [{ num_hidden_layers: 0 }, /num_hidden_layers/],
  [{ num_hidden_layers: '2' }, /num_hidden_layers/],
  [{ num_attention_heads: 3 }, /head_dim must be an integer/],
  [{ num_key_value_heads: 3 }, /num_key_value_heads/],
  [{ num_attention_heads: 4, num_key_value_heads: 3 }, /4 heads cannot share 3/],
  [{ head_dim: 3 }, /head dimension 3 is odd/],
  [{ rms_norm_eps: 0 }, /rms_norm_eps must be a positive number/],
  [{ rope_theta: Number.NaN }, /rope_theta/],
  [{ model_type: 'gemma3', text_config: {} }, /model_type "gemma3"; supported/, 'model_unsupported'],
];

for (const [change, reason, code] of configRefusals) {
  test(`config.json with ${JSON.stringify(change)} is refused`, () => {
    assertRefuses(() => configShape({ ...tinyConfig, ...change }, true), reason, code);
  });
}

const entries: Record<string, GgufValue> = {
  'general.architecture': 'llama',
  'llama.block_count': 2,
  'llama.embedding_length': 8,
  'llama.feed_forward_length': 12,
  'llama.attention.head_count': 2,
  'llama.attention.head_count_kv': 1,
  'llama.context_length': 64,
  'llama.attention.layer_norm_rms_epsilon': 1e-5,
};
const embedding: GgufTensor = { name: 'token_embd.weight', type: 'F32', shape: [10, 8], offset: 0, bytes: 320 };
const file = (change: object = {}, tensors: GgufTensor[] = [embedding]): GgufFile => ({
  version: 3,
  metadata: new Map(Object.entries({ ...entries, ...change }).filter(([, value]) => value !== undefined)),
  entries: new Map(),
  alignment: 32,
  tensors,
});

test('GGUF metadata gives the shape; a head of its own shows in the tensors', () => {
  assert.deepEqual(ggufShape(file(), null), { ...tinyShape, tiedEmbedding: true });
  const head = { ...embedding, name: 'output.weight' };
  assert.equal(ggufShape(file({}, [embedding, head]), null).tiedEmbedding, false);
});

const ggufRefusals: [change: object, reason: RegExp, code?: 'model_unsupported'][] = [
  [{ 'general.architecture': 'mamba' }, /GGUF architecture "mamba"/, 'model_unsupported'],
  [{ 'general.architecture': undefined }, /general.architecture is missing/],
  [{ 'split.count': 2 }, /split into parts/, 'model_unsupported'],
  [{ 'llama.expert_count': 8 }, /mixtures of experts/, 'model_unsupported'],
  [{ 'llama.attention.value_length': 8 }, /value heads of 8/, 'model_unsupported'],
  [{ 'llama.rope.dimension_count': 2 }, /on 2 of 4 dimensions/, 'model_unsupported'],
  [{ 'llama.attention.sliding_window': 16 }, /sliding-window/, 'model_unsupported'],
  [{ 'llama.rope.scaling.type': 'yarn' }, /rope scaling "yarn"/, 'model_unsupported'],
  [{ 'llama.block_count': 1e6 }, /block_count/],
  [{ 'llama.attention.head_count': [2, 2] }, /head_count must be/],
];

for (const [change, reason, code] of ggufRefusals) {
  test(`GGUF metadata with ${JSON.stringify(change)} is refused`, () => {
    assertRefuses(() => ggufShape(file(change), null), reason, code);
  });
}

test('any metadata gives a shape or a refusal', () => {
  const scalar = fc.oneof(fc.double(), fc.integer(), fc.bigInt(), fc.boolean(), fc.string());
  const value: fc.Arbitrary<GgufValue> = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }));
  const keys = [...Object.keys(entries), 'split.count', 'llama.expert_count', 'llama.attention.key_length'];
  const more = ['llama.rope.scaling.type', 'llama.rope.scaling.factor', 'llama.attention.sliding_window'];
  const change = fc.dictionary(fc.constantFrom(...keys, ...more), value, { maxKeys: 4 });
  fc.assert(fc.property(change, (values) => void accepts(() => ggufShape(file(values), null))));
  const json = fc.dictionary(fc.constantFrom(...Object.keys(tinyConfig), 'rope_scaling', 'head_dim'), fc.jsonValue());
  fc.assert(fc.property(json, (values) => void accepts(() => configShape({ ...tinyConfig, ...values }, true))));
});

test("Llama 3's divisors become its rule, and others are refused", () => {
  const theta = 500_000;
  const headDim = 64;
  const wide = {
    'llama.embedding_length': 128,
    'llama.rope.freq_base': theta,
    'llama.rope.dimension_count': headDim,
  };
  // Factors as llama.cpp's converter computes them.
  const factors = Float32Array.from({ length: headDim / 2 }, (_, pair) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * pair) / headDim);
    if (wavelength < 8192 / 4) return 1;
    if (wavelength > 8192) return 32;
    const smooth = (8192 / wavelength - 1) / (4 - 1);
    return 1 / ((1 - smooth) / 32 + smooth);
  });
  assert.deepEqual(ggufShape(file(wide), factors).ropeScaling, {
    kind: 'llama3',
    factor: 32,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalContext: 8192,
  });
  for (const wrong of [2, Number.NaN, Number.POSITIVE_INFINITY]) {
    const changed = Float32Array.from(factors);
    changed[20] = wrong;
    assertRefuses(() => ggufShape(file(wide), changed), /does not follow Llama 3's rule/, 'model_unsupported');
  }
  assertRefuses(() => ggufShape(file(wide), factors.subarray(1)), /31 rotary divisors/, 'model_unsupported');
});
