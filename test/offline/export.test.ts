// Merged checkpoints of the tiny models, opened again and compared, tensor by tensor, with the adapter merged by its
// definition.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import type { FloatType, ModelFiles } from '../../src/core/base-model.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { dequantize } from '../../src/formats/dequantize.ts';
import { elementCount } from '../../src/formats/tensor-bytes.ts';
import { openModel } from '../../src/models/open.ts';
import { readGguf } from '../../src/models/read-gguf.ts';
import { exportGguf } from '../../src/offline/export-gguf.ts';
import { exportSafetensors } from '../../src/offline/export-safetensors.ts';
import type { ExportFormat } from '../../src/protocol/offline-messages.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { type AdapterPlan, everyModule, mergedModel, randomAdapter } from '../engine/adapters/random-adapters.ts';
import { tinyFiles } from '../helpers/tiny-lowered.ts';
import { bytesOf, openExport } from './exported-model.ts';

const plans: Readonly<Record<string, AdapterPlan>> = {
  'attention, rank 3': { seed: 1, modules: ['q_proj', 'k_proj', 'v_proj'], r: 3, layers: [1] },
  'all linears, mixed ranks': { seed: 2, modules: everyModule, r: 5, rankPattern: { v_proj: 17 } },
  DoRA: { seed: 3, modules: everyModule, r: 4, dora: true },
};
/** Half of the last place, of the largest weights there are. */
const roundings: Readonly<Record<FloatType, number>> = { F32: 2 ** -24, F16: 2 ** -11, BF16: 2 ** -8 };

async function exported(
  model: ModelFiles,
  plan: AdapterPlan,
  format: ExportFormat,
  dtype: FloatType,
  unpacked = false,
) {
  const { shape } = await openModel(model);
  const adapter = randomAdapter(shape, plan);
  const work = {
    kind: 'export',
    model,
    adapter: adapter.files,
    format,
    dtype,
    unpacked,
    name: 'tiny with a@1',
  } as const;
  const whole = format === 'gguf' ? exportGguf(work) : await exportSafetensors(work);
  const bytes = await bytesOf(whole);
  assert.equal(bytes.length, whole.bytes, 'what was announced');
  return { adapter, files: await openExport(format, bytes) };
}

const cases = [
  ...(['llama', 'llama3-sharded', 'qwen2', 'qwen3', 'llama-gguf'] as const).map(
    (name) => [name, 'safetensors', false] as const,
  ),
  ['llama-gguf', 'gguf', true] as const,
  ['llama-gguf', 'gguf', false] as const,
];

for (const [name, format, unpacked] of cases) {
  for (const [kind, plan] of Object.entries(plans)) {
    test(`${name} as ${format}${unpacked ? ', unpacked' : ''}: ${kind}`, async () => {
      const model = await tinyFiles(name);
      const base = await openModel(model);
      for (const dtype of ['F32', 'F16', 'BF16'] as const) {
        const { adapter, files } = await exported(model, plan, format, dtype, unpacked);
        const expected = mergedModel(base, [{ adapter, scale: 1 }]);
        const found = await openModel(files);
        assert.deepEqual(found.shape, expected.shape);
        assert.deepEqual([...found.tensors.keys()].sort(), [...expected.tensors.keys()].sort());
        for (const [weight, tensor] of expected.tensors) {
          const written = found.tensors.get(weight)!;
          const values = (one: typeof tensor) => dequantize(one.type, one.bytes(), elementCount(one.shape)!);
          const [want, got] = [values(tensor), values(written)];
          const isMerged = tensor !== base.tensors.get(weight);
          if (format === 'gguf' && !isMerged && !(unpacked && tensor.shape.length === 2)) {
            assert.deepEqual([written.type, written.bytes()], [tensor.type, tensor.bytes()], weight);
            continue;
          }
          assert.equal(written.type, dtype, weight);
          const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          // The reference adds up in 32 bits.
          const allowed = largest * (roundings[dtype] + 2 ** -20);
          for (const [i, value] of got.entries()) assert.ok(Math.abs(value - want[i]!) <= allowed, `${weight} [${i}]`);
        }
      }
    });
  }
}

test('an adapter’s own chat template takes the place of the base’s', async () => {
  for (const [name, format] of [['llama', 'safetensors'], ...cases.slice(-1)] as const) {
    const model = await tinyFiles(name);
    const { adapter } = await exported(model, plans['attention, rank 3']!, format, 'F16');
    const chatTemplate = '{{ messages[0].content }} ä';
    const work = { kind: 'export', model, adapter: adapter.files, dtype: 'F16', unpacked: false, name: 'x' } as const;
    const whole =
      format === 'gguf'
        ? exportGguf({ ...work, format, chatTemplate })
        : await exportSafetensors({ ...work, format, chatTemplate });
    const files = await openExport(format, await bytesOf(whole));
    const tokenizer = await loadTokenizer(files, (path) => readGguf(path).metadata);
    assert.equal(tokenizer.chatTemplate, chatTemplate);
  }
});

const texts = ['Hello, world!', ' 12 + 345', '<s>tab\tand\nline', 'naïve Übung 東京 🙂', ''];

test('the tokeniser and its template come along, whatever the base came as', async () => {
  for (const [name, format] of [['llama', 'safetensors'], ...cases.slice(-2)] as const) {
    const model = await tinyFiles(name);
    const { files } = await exported(model, plans['attention, rank 3']!, format, 'F16');
    const [before, after] = await Promise.all(
      [model, files].map((one) => loadTokenizer(one, (path) => readGguf(path).metadata)),
    );
    assert.deepEqual(after!.eosTokens, before!.eosTokens);
    assert.equal(after!.chatTemplate, before!.chatTemplate);
    for (const text of texts) {
      for (const parseSpecial of [true, false]) {
        const options = { addSpecialTokens: true, parseSpecial };
        assert.deepEqual(after!.encode(text, options), before!.encode(text, options));
      }
    }
  }
});

test('GGUF keeps all metadata but the name, and says no type of most weights', async () => {
  const model = await tinyFiles('llama-gguf');
  const { files } = await exported(model, plans.DoRA!, 'gguf', 'F16');
  const [before, after] = [model, files].map(({ weights }) => Object.fromEntries(readGguf(weights[0]!).metadata));
  const { 'general.file_type': _, ...rest } = before!;
  assert.deepEqual(after, { ...rest, 'general.name': 'tiny with a@1' });
});

test('config.json says the type, and keeps what it said beside it', async () => {
  const model = await tinyFiles('llama');
  const { files } = await exported(model, plans['attention, rank 3']!, 'safetensors', 'BF16');
  const [before, after] = [model, files].map(({ sidecars }) =>
    JSON.parse(readFileSync(sidecars['config.json']!, 'utf8')),
  );
  const { dtype: _, ...rest } = before;
  assert.deepEqual(after, { ...rest, torch_dtype: 'bfloat16' });
});

const code = (name: string, param?: string) => (error: unknown) =>
  error instanceof LorikeetError && error.code === name && (param === undefined || error.param === param);

test('what cannot be exported right is refused', async () => {
  const safetensors = await tinyFiles('llama');
  const plan = { seed: 9, modules: ['q_proj'], r: 2 } as const;
  await assert.rejects(exported(safetensors, plan, 'gguf', 'F16'), code('unsupported_parameter', 'format'));
  // An alpha that takes the weights beyond what F16 can hold; BF16 can.
  const huge = { ...plan, alpha: 1e7 };
  await assert.rejects(exported(safetensors, huge, 'safetensors', 'F16'), code('adapter_unsupported', 'dtype'));
  await exported(safetensors, huge, 'safetensors', 'BF16');
  const { shape } = await openModel(safetensors);
  const { files } = randomAdapter(shape, plan);
  const order = {
    kind: 'export',
    model: safetensors,
    format: 'safetensors',
    dtype: 'F16',
    unpacked: false,
    name: '',
  } as const;
  for (const adapter of [
    { ...files, digest: `sha256:${'0'.repeat(64)}` },
    { ...files, weights: '/nowhere' },
  ]) {
    await assert.rejects(exportSafetensors({ ...order, adapter }), code('adapter_corrupt'));
  }
});
