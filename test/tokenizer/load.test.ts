// The files beside the weights are found by their names, and read only within their limits.

import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { fromJson, ggufMetadata, jsonFiles, raw, small } from './tokenizers.ts';

const noGguf = () => assert.fail('no GGUF file here');

async function modelFiles(test: TestContext, contents: Readonly<Record<string, unknown>>): Promise<ModelFiles> {
  const folder = await mkdtemp(join(tmpdir(), 'tokenizer-'));
  test.after(() => rm(folder, { recursive: true }));
  const sidecars: Record<string, string> = {};
  for (const [name, content] of Object.entries(contents)) {
    sidecars[name] = join(folder, name);
    await writeFile(sidecars[name], typeof content === 'string' ? content : JSON.stringify(content));
  }
  return { name: 'small', kind: 'safetensors', weights: [], sidecars, digest: 'sha256:0', source: 'path' };
}

const throwsCode = (code: string) => (error: unknown) => error instanceof LorikeetError && error.code === code;

it('reads tokenizer.json and what lies beside it', async (test) => {
  const { tokenizerJson } = jsonFiles('smollm');
  const added_tokens_decoder = { 503: { content: '<|call|>', special: true }, 500: { content: 'listed already' } };
  const files = await modelFiles(test, {
    'tokenizer.json': tokenizerJson,
    'tokenizer_config.json': { eos_token: '<|endoftext|>', chat_template: 'old', added_tokens_decoder },
    'chat_template.jinja': small.chatml,
    'generation_config.json': { eos_token_id: [500, 503] },
  });
  const tokenizer = await loadTokenizer(files, noGguf);
  assert.equal(tokenizer.chatTemplate, small.chatml);
  assert.deepEqual(tokenizer.eosTokens, [500, 503, 502]);
  assert.equal(tokenizer.vocabulary, 504);
  assert.deepEqual(tokenizer.encode('<|call|>', raw), [503]);
  assert.deepEqual(tokenizer.encode('Hello 7', raw), fromJson('smollm').encode('Hello 7', raw));
});

it('reads GGUF metadata through the given reader', async () => {
  const weights = ['/models/small.gguf'];
  const files: ModelFiles = { name: 's', kind: 'gguf', weights, sidecars: {}, digest: 'sha256:0', source: 'path' };
  const paths: string[] = [];
  const tokenizer = await loadTokenizer(files, (path) => {
    paths.push(path);
    return ggufMetadata('qwen2');
  });
  assert.deepEqual(paths, weights);
  assert.deepEqual(tokenizer.encode('Hello', raw), fromJson('qwen2').encode('Hello', raw));
});

it('needs tokenizer.json', async (test) => {
  await assert.rejects(loadTokenizer(await modelFiles(test, {}), noGguf), throwsCode('model_unsupported'));
});

it('refuses what is not JSON', async (test) => {
  const files = await modelFiles(test, { 'tokenizer.json': '{' });
  await assert.rejects(loadTokenizer(files, noGguf), throwsCode('model_file_invalid'));
});

it('does not read a file beyond its limit', async (test) => {
  const files = await modelFiles(test, { 'tokenizer.json': '{}' });
  await truncate(files.sidecars['tokenizer.json']!, limits.tokenizerBytes + 1);
  await assert.rejects(loadTokenizer(files, noGguf), /at most/);
});
