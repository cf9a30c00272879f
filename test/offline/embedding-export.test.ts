// Adapters that change the embedding, merged into the base for other programs: the exported model alone gives what PEFT
// gave, or what the engine gives with the adapter beside the base. A head that is tied stays so only where both have
// the same rows.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import { logSumExp } from '../../src/engine/sampling/logprobs.ts';
import { lower } from '../../src/graph/lower.ts';
import { openModel } from '../../src/models/open.ts';
import { analyseAdapter } from '../../src/offline/analyse-adapter.ts';
import { exportGguf } from '../../src/offline/export-gguf.ts';
import { exportSafetensors } from '../../src/offline/export-safetensors.ts';
import { writeAdapterFiles } from '../engine/adapters/random-adapters.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyFiles } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import { bytesOf, openExport } from './exported-model.ts';

type Case = {
  readonly model: TinyModel;
  readonly kind: string;
  readonly config: object;
  readonly weights: string;
  readonly logprobs: readonly number[];
};
const url = new URL('../fixtures/embedding-adapters.json', import.meta.url);
const fixture: { readonly tokens: readonly number[]; readonly cases: readonly Case[] } = JSON.parse(
  readFileSync(url, 'utf8'),
);
const runtime = testRuntime();
const skip = runtime.device === null ? false : 'a device refuses them';

const filesOf = ({ config, weights }: Case) =>
  writeAdapterFiles(Buffer.from(JSON.stringify(config)), Buffer.from(weights, 'base64'));

type Files = Parameters<typeof openModel>[0];

/** Log-probabilities of the text's tokens after the first; with an adapter beside the model. */
async function logprobsOf(files: Files, adapter: Case | null): Promise<number[]> {
  const model = lower(await openModel(files), 32);
  const decoder = createDecoder(runtime, model, { rows: 1, positions: 64, pages: 4, kvType: 'float32' });
  const row = async (one: Case): Promise<RowAdapter> => {
    const resident = await readAdapter(filesOf(one), { model, breath: createBreath(systemClock) });
    return { adapter: resident, scale: 1, placement: decoder.pages.place(resident)! };
  };
  const adapters = [adapter && (await row(adapter))];
  const { tokens } = fixture;
  const sampled = tokens.slice(1).map((_, i) => i);
  const logits = await decoder.forward(evenBatch({ kind: 'prompt', first: 0, pasts: [0], tokens, sampled, adapters }));
  const found = sampled.map((position) => {
    const own = logits.subarray(position * decoder.vocabulary, (position + 1) * decoder.vocabulary);
    return own[tokens[position + 1]!]! - logSumExp(own);
  });
  await decoder.release();
  return found;
}

const near = (found: readonly number[], expected: readonly number[], label: string) => {
  const apart = found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  assert.ok(apart < 5e-3, `${label}: ${apart}`);
};

const work = { kind: 'export', dtype: 'F32', unpacked: true, name: 'tiny with a@1' } as const;
const unties = [
  'embedding',
  'embedding and linears',
  'tied pairs',
  'tokens and a head',
  'tokens of both',
  'tokens of the head',
];

for (const name of ['llama', 'qwen3', 'gemma3'] as const) {
  test(`${name}: the exported model alone gives what PEFT gave`, { skip }, async () => {
    const model = await tinyFiles(name);
    for (const one of fixture.cases.filter(({ model }) => model === name)) {
      const whole = await exportSafetensors({ ...work, model, adapter: filesOf(one), format: 'safetensors' });
      const bytes = await bytesOf(whole);
      assert.equal(bytes.length, whole.bytes);
      const files = await openExport('safetensors', bytes);
      const [base, { shape }] = [await openModel(model), await openModel(files)];
      assert.equal(shape.tiedEmbedding, base.shape.tiedEmbedding && !unties.includes(one.kind), one.kind);
      near(await logprobsOf(files, null), one.logprobs, one.kind);
    }
  });
}

test('a GGUF too, as the engine has it with the adapter beside the base', { skip }, async () => {
  const model = await tinyFiles('llama-gguf');
  for (const one of fixture.cases.filter(({ model }) => model === 'llama')) {
    const whole = exportGguf({ ...work, model, adapter: filesOf(one), format: 'gguf' });
    const files = await openExport('gguf', await bytesOf(whole));
    near(await logprobsOf(files, null), await logprobsOf(model, one), one.kind);
  }
});

test('pairs on linears are analysed; without one there is nothing to analyse', async () => {
  const model = await tinyFiles('llama');
  const analyse = (kind: string) => {
    const one = fixture.cases.find((one) => one.model === 'llama' && one.kind === kind)!;
    return analyseAdapter({ kind: 'analysis', model, adapter: filesOf(one), against: null });
  };
  const { linears } = await analyse('embedding and linears');
  assert.deepEqual(new Set(linears.map(({ module }) => module)), new Set(['o_proj']));
  await assert.rejects(analyse('tokens alone'), { code: 'adapter_unsupported', param: 'embed_tokens' });
});
