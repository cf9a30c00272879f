// vLLM's two routes for loading adapters, which its controllers call.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testApp } from '../helpers/app.ts';

function adapterFolder(path: string, content = 'weights') {
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'adapter_config.json'), '{"r":8,"target_modules":["q_proj"]}');
  writeFileSync(join(path, 'adapter_model.safetensors'), content);
}

async function rooted(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-root-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const root = join(folder, 'root');
  adapterFolder(join(root, 'team/a'));
  adapterFolder(join(folder, 'outside'));
  const testing = await testApp(t, { deps: { adapterRoot: root, adapterResolver: true } });
  const load = (lora_name: string, lora_path: string, more = {}) =>
    testing.post('/v1/load_lora_adapter', { lora_name, lora_path, ...more });
  return { ...testing, folder, root, load };
}

test('load, load again, load in place, unload', async (t) => {
  const { registry, root, load, post } = await rooted(t);
  const loaded = await load('a', join(root, 'team/a'));
  assert.deepEqual([loaded.statusCode, loaded.body], [200, "Success: LoRA adapter 'a' added successfully."]);
  assert.match(String(loaded.headers['content-type']), /^text\/plain/);
  const again = await load('a', 'team/a');
  assert.equal(again.statusCode, 400);
  const inPlace = "If you want to load the adapter in place, set 'load_inplace' to True.";
  assert.equal(again.json().error.message, `The lora adapter 'a' has already been loaded. ${inPlace}`);
  adapterFolder(join(root, 'team/a'), 'newer weights');
  assert.equal((await load('a', 'team/a', { load_inplace: true })).statusCode, 200);
  const { version, source } = await registry.find('default', 'a');
  assert.deepEqual([version, source], [2, 'load']);
  const unloaded = await post('/v1/unload_lora_adapter', { lora_name: 'a', lora_int_id: 1 });
  assert.equal(unloaded.body, "Success: LoRA adapter 'a' removed successfully.");
  const gone = await post('/v1/unload_lora_adapter', { lora_name: 'a' });
  assert.deepEqual([gone.statusCode, gone.json().error.message], [404, "The lora adapter 'a' cannot be found."]);
  assert.equal(registry.staged, 0);
});

test('nothing outside the root is there: parents, links, links in the folder, folders as files', async (t) => {
  const { registry, folder, root, load } = await rooted(t);
  symlinkSync(join(folder, 'outside'), join(root, 'link'));
  mkdirSync(join(root, 'mixed'));
  writeFileSync(join(root, 'mixed/adapter_config.json'), '{}');
  symlinkSync(join(folder, 'outside/adapter_model.safetensors'), join(root, 'mixed/adapter_model.safetensors'));
  mkdirSync(join(root, 'odd/adapter_config.json'), { recursive: true });
  const paths = ['../outside', join(folder, 'outside'), 'team/../../outside', 'link', 'mixed', 'odd', 'none', '\0'];
  for (const path of paths) {
    const answer = await load('x', path);
    assert.deepEqual([answer.statusCode, answer.json().error.code], [404, 'adapter_not_found'], path);
    assert.equal(answer.json().error.message, `No adapter found for ${path}`);
  }
  assert.equal(registry.staged, 0);
  symlinkSync(join(root, 'team'), join(root, 'inside'));
  assert.equal((await load('x', 'inside/a')).statusCode, 200, 'a link within the root is fine');
});

test('without a root nothing is loaded by path; without its fields nothing at all', async (t) => {
  const { post } = await testApp(t);
  const closed = await post('/v1/load_lora_adapter', { lora_name: 'a', lora_path: '/' });
  assert.deepEqual([closed.statusCode, closed.json().error.param], [400, 'lora_path']);
  assert.match(closed.json().error.message, /LORIKEET_ADAPTER_ROOT/);
  const empty = await post('/v1/load_lora_adapter', {});
  assert.equal(empty.json().error.message, "Both 'lora_name' and 'lora_path' must be provided.");
  assert.equal((await post('/v1/unload_lora_adapter', {})).statusCode, 400);
});

test('an adapter below the root is loaded when it is first asked for, once', async (t) => {
  const { registry, post } = await rooted(t);
  const ask = (model: string) => post('/v1/completions', { model, prompt: 'x' });
  const answers = await Promise.all([ask('team/a'), ask('team/a'), ask('team/a')]);
  assert.deepEqual(
    answers.map(({ statusCode }) => statusCode),
    [200, 200, 200],
  );
  assert.equal((await registry.versions('default', 'team/a')).length, 1);
  for (const missing of ['../outside', 'team/b', 'team/a@7', 'team/a:prod']) {
    assert.equal((await ask(missing)).statusCode, 404, missing);
  }
});
