// Compares GGUF files of all families, as llama.cpp's converter writes them, with the safetensors from which they were
// made: names, paired rows, fused rows, norms that are stored with 1 added, and metadata.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { BaseModel, ModelTraits, RawTensor } from '../../src/core/base-model.ts';
import { dequantize } from '../../src/formats/dequantize.ts';
import { elementCount } from '../../src/formats/tensor-bytes.ts';
import { openGguf } from '../../src/models/open-gguf.ts';
import { buildGguf, f32, type GgufEntry, text, u32 } from '../formats/gguf-builder.ts';
import { assertRefuses } from '../formats/refusal.ts';
import { temporaryFolder, tinyModel } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';

const names: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens/, 'token_embd'],
  [/^lm_head/, 'output'],
  [/^model\.norm/, 'output_norm'],
  [/^model\.layers\./, 'blk.'],
  [/self_attn\.o_proj/, 'attn_output'],
  [/self_attn\.([qkv])_proj/, 'attn_$1'],
  [/self_attn\.([qk])_norm/, 'attn_$1_norm'],
  [/mlp\.(gate|up|down)_proj/, 'ffn_$1'],
  [/input_layernorm/, 'attn_norm'],
  [/pre_feedforward_layernorm/, 'ffn_norm'],
  [/post_feedforward_layernorm/, 'post_ffw_norm'],
];

type Written = { readonly name: string; readonly shape: readonly number[]; readonly values: Float32Array };

const valuesOf = ({ type, bytes, shape }: RawTensor) => dequantize(type, bytes(), elementCount(shape)!);

function written({ shape, tensors }: BaseModel, isPaired: boolean): Written[] {
  const isGemma = shape.outputNorms === true;
  const afterAttention = isGemma ? 'post_attention_norm' : 'ffn_norm';
  const all = [...tensors.values()].map((tensor) => {
    let name = tensor.name.replace('post_attention_layernorm', afterAttention);
    for (const [from, to] of names) name = name.replace(from, to);
    let values = valuesOf(tensor);
    if (isGemma && name.includes('norm')) values = values.map((value) => value + 1);
    if (isPaired && /attn_[qk]\.weight/.test(name)) values = paired(values, tensor.shape[1]!, shape.headDim);
    return { name, shape: tensor.shape, values };
  });
  if (!shape.fusedRows) return all;
  return all.flatMap((tensor) => {
    const parts = /attn_q\./.test(tensor.name) ? ['q', 'k', 'v'] : /ffn_gate/.test(tensor.name) ? ['gate', 'up'] : null;
    if (parts === null) return /attn_[kv]\.|ffn_up/.test(tensor.name) ? [] : [tensor];
    const [first] = parts as [string];
    const rows = parts.map((part) => all.find(({ name }) => name === tensor.name.replace(first, part))!);
    const out = rows.reduce((sum, row) => sum + row.shape[0]!, 0);
    const name = tensor.name.replace('attn_q', 'attn_qkv').replace('ffn_gate', 'ffn_up');
    const values = Float32Array.from(rows.flatMap((row) => [...row.values]));
    return [{ name, shape: [out, tensor.shape[1]!], values }];
  });
}

/** `permute` of convert_hf_to_gguf.py: rows of a head's first and second half alternate. */
function paired(values: Float32Array, width: number, headDim: number): Float32Array<ArrayBuffer> {
  const rows = values.length / width;
  return Float32Array.from(
    Array.from({ length: rows }, (_, row) => {
      const at = row % headDim;
      const source = row - at + (at % 2) * (headDim / 2) + Math.floor(at / 2);
      return [...values.subarray(source * width, (source + 1) * width)];
    }).flat(),
  );
}

function ggufOf(architecture: string, model: BaseModel, isPaired: boolean, own: readonly GgufEntry[]): string {
  const { shape } = model;
  const tensors = written(model, isPaired);
  let offset = 0;
  const placed = tensors.map(({ name, shape: size, values }) => {
    const at = offset;
    offset += Math.ceil(values.byteLength / 32) * 32;
    return { name, shape: [...size].reverse(), type: 0, offset: at };
  });
  const key = (name: string) => `${architecture}.${name}`;
  const entries = [
    text('general.architecture', architecture),
    u32(key('block_count'), shape.layers),
    u32(key('context_length'), shape.context),
    u32(key('embedding_length'), shape.hidden),
    u32(key('feed_forward_length'), shape.intermediate),
    u32(key('attention.head_count'), shape.heads),
    u32(key('attention.head_count_kv'), shape.kvHeads),
    u32(key('attention.key_length'), shape.headDim),
    f32(key('rope.freq_base'), shape.ropeTheta),
    f32(key('attention.layer_norm_rms_epsilon'), shape.rmsNormEps),
    ...own.map((entry) => ({ ...entry, key: key(entry.key) })),
  ];
  const file = buildGguf({ entries, tensors: placed, dataBytes: offset });
  for (const [i, { values }] of tensors.entries()) {
    Buffer.from(values.buffer, values.byteOffset, values.byteLength).copy(
      file,
      file.length - offset + placed[i]!.offset,
    );
  }
  const path = join(temporaryFolder(), `${architecture}.gguf`);
  writeFileSync(path, file);
  return path;
}

const everyLayer = { window: null, rope: 'global' } as const;
const gemma = {
  activation: 'gelu',
  outputNorms: true,
  norms: 'around one',
  scaledTable: true,
  embeddingScale: 8,
} as const;

/** Metadata in llama.cpp's files, and the traits that the files imply. */
const families: readonly [TinyModel, string, isPaired: boolean, own: GgufEntry[], ModelTraits][] = [
  ['smollm3', 'smollm3', true, [], {}],
  [
    ...(['granite', 'granite', true] as const),
    [f32('embedding_scale', 3), f32('residual_scale', 0.5), f32('attention.scale', 0.25), f32('logit_scale', 2)],
    { embeddingScale: 3, residualScale: 0.5, attentionScale: 0.25, logitsScale: 0.5 },
  ],
  [
    ...(['phi3', 'phi3', false] as const),
    [u32('rope.dimension_count', 12), u32('attention.sliding_window', 24)],
    { fusedRows: true, ropeDims: 12, attention: [0, 1].map(() => ({ window: 24, rope: 'global' as const })) },
  ],
  [
    ...(['gemma2', 'gemma2', false] as const),
    [u32('attention.sliding_window', 16), f32('attn_logit_softcapping', 50), f32('final_logit_softcapping', 30)],
    { ...gemma, attentionSoftcap: 50, logitsSoftcap: 30, attention: [{ window: 16, rope: 'global' }, everyLayer] },
  ],
  [
    ...(['gemma3', 'gemma3', false] as const),
    [u32('attention.sliding_window', 16), u32('attention.sliding_window_pattern', 3)],
    {
      ...gemma,
      localRopeTheta: 10_000,
      attention: [{ window: 16, rope: 'local' }, { window: 16, rope: 'local' }, everyLayer],
    },
  ],
];

for (const [name, architecture, isPaired, own, traits] of families) {
  test(`${name}: a GGUF file gives the tensors of the safetensors, and what its keys say`, async () => {
    const base = await tinyModel(name);
    const { shape, tensors } = openGguf(ggufOf(architecture, base, isPaired, own));
    for (const [weight, tensor] of base.tensors) {
      const [expected, found] = [valuesOf(tensor), valuesOf(tensors.get(weight)!)];
      const furthest = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i]!)), 0);
      assert.ok(found.length === expected.length && furthest < 1e-6, `${weight}: ${furthest}`);
    }
    const { layers, hidden, intermediate, heads, kvHeads, headDim, vocabulary, context, ropeTheta } = base.shape;
    const plain = { layers, hidden, intermediate, heads, kvHeads, headDim, vocabulary, context, ropeTheta };
    const rest = { ropeScaling: null, rmsNormEps: Math.fround(1e-5), tiedEmbedding: base.shape.tiedEmbedding };
    assert.deepEqual(shape, { architecture: base.shape.architecture, ...plain, ...rest, ...traits });
  });
}

test("every fourth of SmolLM3's layers has no rotary positions, and Phi's long factors are refused", async () => {
  const { shape, tensors } = await tinyModel('smollm3');
  const parts = [...tensors].filter(([name]) => name.startsWith('model.layers.0.'));
  const fourth = parts.map(([name, tensor]) => {
    const own = name.replace('layers.0.', 'layers.3.');
    return [own, { ...tensor, name: own }] as const;
  });
  const four = { shape: { ...shape, layers: 4 }, tensors: new Map([...tensors, ...fourth]) };
  const opened = openGguf(ggufOf('smollm3', four, true, []));
  assert.deepEqual(opened.shape.attention, [everyLayer, everyLayer, everyLayer, { window: null, rope: null }]);

  const phi = await tinyModel('phi3');
  const factors = {
    name: 'rope_factors_long.weight',
    type: 'F32',
    shape: [8],
    bytes: () => new Uint8Array(32),
  } as const;
  const withFactors = { ...phi, tensors: new Map([...phi.tensors, [factors.name, factors]]) };
  assertRefuses(() => openGguf(ggufOf('phi3', withFactors, false, [])), /rope_factors_long/);
});
