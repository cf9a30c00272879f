import assert from 'node:assert/strict';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { type ErrorCode, LorikeetError } from '../../src/core/errors.ts';
import { dequantize } from '../../src/formats/dequantize.ts';
import { unpairRows } from '../../src/formats/unpair-rows.ts';
import { writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { localModel } from '../../src/models/local-model.ts';
import { openModel } from '../../src/models/open.ts';
import { tensorSpecs } from '../../src/models/tensor-specs.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { tinyConfig, tinyShape, tinyTensors, writeModelFolder } from './model-folder.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/tiny/${name}`, import.meta.url));
const filesOf = (path: string): ModelFiles => ({ ...localModel(path), digest: '', source: 'path' });
const open = (path: string) => openModel(filesOf(path));

async function assertRefused(path: string, reason: RegExp, code: ErrorCode = 'model_file_invalid') {
  await assert.rejects(open(path), (error) => {
    assert.ok(error instanceof LorikeetError, (error as Error).stack);
    assert.equal(error.code, code);
    assert.match(error.message, reason);
    return true;
  });
}

const common = { layers: 2, hidden: 64, heads: 4, kvHeads: 2, vocabulary: 300, context: 512 };
const expected = {
  llama: { ...common, architecture: 'llama', ropeScaling: null },
  'llama-gguf': { ...common, architecture: 'llama', ropeScaling: null },
  'llama3-sharded': {
    ...common,
    architecture: 'llama',
    tiedEmbedding: false,
    ropeScaling: { kind: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 64 },
  },
  qwen2: { ...common, architecture: 'qwen2', layers: 3, ropeScaling: null },
  qwen3: { ...common, architecture: 'qwen3', ropeScaling: null },
};

for (const [name, shape] of Object.entries(expected)) {
  test(`opens ${name}, as transformers wrote it`, async () => {
    const model = await open(fixture(name));
    assert.partialDeepStrictEqual(model.shape, shape);
    assert.deepEqual(
      [...model.tensors.keys()],
      tensorSpecs(model.shape).map((spec) => spec.name),
    );
    for (const { name: tensor, type, shape: dimensions, bytes } of model.tensors.values()) {
      const count = dimensions.reduce((product, dimension) => product * dimension, 1);
      const weights = dequantize(type, bytes(), count);
      assert.ok(weights.every(Number.isFinite) && weights.some((weight) => weight !== 0), tensor);
    }
  });
}

test('what only some architectures have is there', async () => {
  const qwen2 = await open(fixture('qwen2'));
  const qwen3 = await open(fixture('qwen3'));
  assert.deepEqual(qwen2.tensors.get('model.layers.1.self_attn.k_proj.bias')?.shape, [32]);
  assert.deepEqual(qwen3.tensors.get('model.layers.1.self_attn.q_norm.weight')?.shape, [qwen3.shape.headDim]);
  assert.equal(qwen2.tensors.has('model.layers.1.self_attn.q_norm.weight'), false);
});

test('a tensor holds the bytes of its own name', async (context) => {
  const model = await open(writeModelFolder(temporaryFolder(context)));
  assert.deepEqual(model.shape, tinyShape);
  tinyTensors().forEach(({ name, bytes }) => void assert.deepEqual(model.tensors.get(name)!.bytes(), bytes));
});

test('shards are one model, in whatever files', async (context) => {
  const folder = temporaryFolder(context);
  const tensors = tinyTensors();
  const shards = [tensors.slice(0, 5), tensors.slice(5)];
  const fileOf = (shard: number) => `model-0000${shard + 1}-of-00002.safetensors`;
  const entries = shards.flatMap((shard, index) => shard.map(({ name }) => [name, fileOf(index)]));
  const index = { metadata: {}, weight_map: Object.fromEntries(entries) };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(tinyConfig));
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  shards.forEach((shard, at) => void writeFileSync(join(folder, fileOf(at)), writeSafetensors(shard)));
  assert.equal((await open(folder)).tensors.size, tensors.length);

  writeFileSync(join(folder, fileOf(1)), writeSafetensors([...shards[1]!, tensors[0]!]));
  await assertRefused(folder, /"model.embed_tokens.weight" is in two shards/);
  writeFileSync(join(folder, fileOf(1)), writeSafetensors(shards[1]!.slice(1)));
  await assertRefused(folder, /of the shard index is in no shard/);
});

test('a head beside a tied embedding is left out, and one that is needed is missed', async (context) => {
  const folder = writeModelFolder(temporaryFolder(context), { ...tinyConfig, tie_word_embeddings: true });
  const tied = await open(folder);
  assert.equal(tied.shape.tiedEmbedding, true);
  assert.equal(tied.tensors.has('lm_head.weight'), false);
  const headless = tinyTensors({ ...tinyShape, tiedEmbedding: true });
  writeModelFolder(folder, tinyConfig, headless);
  await assertRefused(folder, /tensor lm_head.weight is missing/);
  const { tie_word_embeddings: _, ...silent } = tinyConfig;
  writeModelFolder(folder, silent, headless);
  assert.equal((await open(folder)).shape.tiedEmbedding, true);
});

test('weights that do not fit the shape are refused by name', async (context) => {
  const folder = temporaryFolder(context);
  const [first, ...rest] = tinyTensors();
  writeModelFolder(folder, tinyConfig, rest);
  await assertRefused(folder, /tensor model.embed_tokens.weight is missing/);
  writeModelFolder(folder, tinyConfig, [{ ...first!, shape: [...first!.shape].reverse() }, ...rest]);
  await assertRefused(folder, /model.embed_tokens.weight has shape \[8, 10\], expected \[10, 8\]/);
  writeModelFolder(folder, tinyConfig, [...tinyTensors(), { ...first!, name: 'model.layers.0.self_attn.q_proj.bias' }]);
  await assertRefused(folder, /has no use for "model.layers.0.self_attn.q_proj.bias"/);
  writeModelFolder(folder, tinyConfig, [{ ...first!, type: 'I32' }, ...rest]);
  await assertRefused(folder, /"model.embed_tokens.weight" is of type I32/, 'model_unsupported');
});

test('a damaged or changed file is refused', async (context) => {
  const folder = writeModelFolder(temporaryFolder(context));
  const weights = join(folder, 'model.safetensors');
  const model = await open(folder);
  appendFileSync(weights, 'x');
  assert.throws(() => model.tensors.get('model.norm.weight')!.bytes(), /changed while it was being read/);
  await assertRefused(folder, /1 bytes follow the last tensor/);
  writeFileSync(join(folder, 'config.json'), '{"model_type":"llama","model_type":"qwen2"}');
  writeFileSync(weights, writeSafetensors(tinyTensors()));
  await assertRefused(folder, /"model_type" occurs twice/);
});

test('rows of rotary pairs are put back in two halves', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 7 }),
      (heads, half, rowBytes) => {
        const rows = Array.from({ length: heads * half * 2 }, (_, row) => new Uint8Array(rowBytes).fill(row));
        // The converter moves row (half h, pair j) of a head to row 2j + h.
        const paired = rows.map((_, at) => {
          const within = at % (2 * half);
          return rows[at - within + (within % 2) * half + Math.floor(within / 2)]!;
        });
        assert.deepEqual(unpairRows(Buffer.concat(paired), heads, 2 * half), new Uint8Array(Buffer.concat(rows)));
      },
    ),
  );
});
