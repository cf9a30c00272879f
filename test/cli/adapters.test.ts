// `lorikeet adapters` and `generate --adapter` against the app on a loopback port.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { packTar } from 'modern-tar/fs';
import { LorikeetError } from '../../src/core/errors.ts';
import type { OfflineClient } from '../../src/protocol/offline-process.ts';
import { listen, type TestAppOptions, testApp } from '../helpers/app.ts';
import { fakeOffline } from '../helpers/fake-offline.ts';
import { cliIn } from '../helpers/run-cli.ts';

const config = '{ "r": 8,  "target_modules": ["q_proj"] }\n';

async function server(t: TestContext, options: TestAppOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-cli-adapters-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const testing = await testApp(t, options);
  const port = await listen(testing.app);
  const run = cliIn(folder);
  const write = (name: string, weights: string | Uint8Array = 'weights') => {
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, name, 'adapter_config.json'), config);
    writeFileSync(join(folder, name, 'adapter_model.safetensors'), weights);
    return join(folder, name);
  };
  const ask = (...args: string[]) => run(['adapters', ...args, '--port', String(port)]);
  return { ...testing, folder, port, run, write, ask };
}

test('push, list, show, alias, pull, rm', async (t) => {
  const { folder, write, ask } = await server(t);
  assert.match((await ask('list')).stdout, /^No adapters/);
  const pushed = await ask('push', write('style'));
  assert.deepEqual([pushed.code, pushed.stdout, pushed.stderr], [0, 'style@1 is ready.\n', '']);
  assert.equal((await ask('push', write('style'))).stdout, 'style@1 is this content already.\n');
  const second = await ask('push', write('style', 'new weights'), '--name', 'org/style', '--json');
  assert.equal(JSON.parse(second.stdout).id, 'org/style@1');
  assert.equal((await ask('push', write('style'), '--name', 'org/style')).stdout, 'org/style@2 is ready.\n');

  const aliased = await ask('alias', 'org/style', 'prod', '1');
  assert.equal(aliased.stdout, 'org/style:prod is 1 (1).\n');
  const split = await ask('alias', 'org/style', 'try', '--weights', '1=0.9,2=0.1', '--json');
  assert.deepEqual(
    JSON.parse(split.stdout).targets.map(({ weight }: { weight: number }) => weight),
    [0.9, 0.1],
  );
  const listed = (await ask('list')).stdout;
  assert.match(listed, /^org\/style@2 {2}r 8 {2}0\.0 MB {2}20\S+ \S+ {2}ready :try\nstyle@1 /);
  assert.match((await ask('show', 'org/style:prod')).stdout, /^ {2}id +org\/style@1\n {2}digest +sha256:/);
  assert.equal(JSON.parse((await ask('list', '--json')).stdout).length, 2);

  const to = join(folder, 'pulled');
  const pulled = await ask('pull', 'org/style:prod', '--to', to);
  assert.equal(pulled.stdout, `org/style@1 is in ${to}.\n`, pulled.stderr);
  assert.equal(readFileSync(join(to, 'adapter_config.json'), 'utf8'), config);
  assert.equal(readFileSync(join(to, 'adapter_model.safetensors'), 'utf8'), 'new weights');
  assert.equal((await ask('pull', 'org/style', '--to', to)).code, 2, 'nothing is overwritten');

  assert.equal((await ask('rm', 'org/style:prod')).stdout, 'org/style:prod is gone.\n');
  assert.equal((await ask('rm', 'org/style@2')).code, 1, 'an alias points to it');
  const unmeant = await ask('rm', 'org/style');
  assert.equal(unmeant.code, 2);
  assert.match(unmeant.stderr, /org\/style has \d versions?.*`--yes` deletes all/);
  assert.equal((await ask('rm', 'org/style', '--yes')).stdout, 'org/style is gone.\n');
  const gone = await ask('show', 'org/style');
  assert.deepEqual([gone.code, gone.stdout], [1, '']);
  assert.match(gone.stderr, /^lorikeet: The adapter 'org\/style' does not exist\. \(adapter_not_found\)\n$/);
});

/** A proxy that closes each of its first `breaks` connections after `bytes` of the body have passed. */
async function breakingProxy(t: TestContext, port: number, breaks: number, bytes: number) {
  const passed: number[] = [];
  const proxy = createServer((from) => {
    const to = connect(port, '127.0.0.1');
    const index = passed.push(0) - 1;
    const end = () => {
      from.destroy();
      to.destroy();
    };
    from.on('data', (chunk) => {
      passed[index]! += chunk.length;
      to.write(chunk);
      if (passed[index]! > bytes && passed.filter((count) => count > bytes).length <= breaks) end();
    });
    to.pipe(from);
    for (const socket of [from, to]) socket.on('error', end).on('close', end);
  });
  proxy.listen(0, '127.0.0.1');
  await new Promise((listening) => proxy.once('listening', listening));
  t.after(() => proxy.close());
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, passed };
}

test('a folder’s chat template goes along, and comes back with a pull', async (t) => {
  const templates = { base: 'bytes', check: async () => {} };
  const { folder, write, ask } = await server(t, { registry: { templates } });
  const path = write('style');
  const template = 'ä{{ messages[0].content }}';
  writeFileSync(join(path, 'tokenizer_config.json'), JSON.stringify({ chat_template: template }));
  assert.equal((await ask('push', path)).stdout, 'style@1 is ready.\n');
  assert.equal((await ask('push', path)).stdout, 'style@1 is this content already.\n');
  const to = join(folder, 'pulled');
  assert.equal((await ask('pull', 'style', '--to', to)).code, 0);
  assert.equal(readFileSync(join(to, 'chat_template.jinja'), 'utf8'), template);
  assert.equal((await ask('push', to, '--name', 'style')).stdout, 'style@1 is this content already.\n');
  writeFileSync(join(path, 'tokenizer_config.json'), '{}');
  assert.equal((await ask('push', path)).stdout, 'style@2 is ready.\n');
});

test('weights that the server has are not sent again for a chat template that it does not keep', async (t) => {
  const { write, run, port } = await server(t);
  const { url, passed } = await breakingProxy(t, port, 0, 0);
  const path = write('style', new Uint8Array(1_000_000).fill(7));
  writeFileSync(join(path, 'chat_template.jinja'), '{{ messages[0].content }}');
  const push = () => run(['adapters', 'push', path, '--url', url]);
  assert.equal((await push()).stdout, 'style@1 is ready.\n');
  const sent = () => passed.reduce((sum, bytes) => sum + bytes, 0);
  assert.ok(sent() > 1_000_000);
  assert.equal((await push()).stdout, 'style@1 is this content already.\n');
  assert.ok(sent() < 1_100_000, `${sent()} bytes`);
});

test('a folder of older PEFT, with a pickle, is refused with what to do', async (t) => {
  const { folder, ask } = await server(t);
  const old = join(folder, 'old');
  mkdirSync(old);
  writeFileSync(join(old, 'adapter_config.json'), config);
  writeFileSync(join(old, 'adapter_model.bin'), 'PK\x03\x04');
  const { code, stderr } = await ask('push', old);
  assert.notEqual(code, 0);
  assert.match(stderr, /adapter_model\.bin is a pickle, which is not read: .*safe_serialization=True/);
});

test('a push goes on where its connection broke', async (t) => {
  const { port, run, write, registry } = await server(t);
  const weights = Buffer.alloc(8 * 2 ** 20, 'weights');
  const { url, passed } = await breakingProxy(t, port, 2, 2 * 2 ** 20);
  const pushed = await run(['adapters', 'push', write('big', weights), '--url', url]);
  assert.equal(pushed.stdout, 'big@1 is ready.\n', pushed.stderr);
  assert.equal((await registry.find('default', 'big')).bytes, weights.length);
  const sent = passed.reduce((sum, count) => sum + count, 0);
  t.diagnostic(`${(sent / 2 ** 20).toFixed(1)} MiB were sent for 8`);
  assert.ok(sent < 1.5 * weights.length, `${sent} bytes were sent`);
});

test('a push that nothing helps gives up; a pull that was altered leaves no folder', async (t) => {
  const { folder, ask, run, write, registry } = await server(t);
  const absent = await run(['adapters', 'push', write('a'), '--url', 'http://127.0.0.1:1']);
  assert.equal(absent.code, 3);
  await ask('push', write('a'));
  const { files, release } = await registry.lease('default', 'a');
  writeFileSync(files.weights, 'altered');
  release();
  const pulled = await ask('pull', 'a', '--to', join(folder, 'b'));
  assert.equal(pulled.code, 1);
  assert.match(pulled.stderr, /digest/);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('b')),
    [],
  );
});

test('generate asks an adapter, and a refusal comes in the words of the server', async (t) => {
  const { port, run, registry, engine } = await server(t, { says: 'ok' });
  const { digest } = await registry.add('a');
  const args = ['generate', 'x', '--port', String(port), '--adapter'];
  assert.equal((await run([...args, 'a', '--adapter-scale', '0.5'])).stdout, 'ok\n');
  assert.deepEqual(
    engine.submitted[0]?.adapters.map(({ files, scale }) => [files.digest, scale]),
    [[digest, 0.5]],
  );
  const refused = await run([...args, 'b', '--json']);
  assert.deepEqual([refused.code, JSON.parse(refused.stdout).error.code], [1, 'adapter_not_found']);
});

test('a key is sent, and its lack is explained', async (t) => {
  const { run, port, keys, registry } = await server(t);
  const { key } = await keys.create({ tenant: 'acme', name: 'n', scopes: ['adapters'] });
  await registry.add('theirs', { tenant: 'acme' });
  const list = (env: Record<string, string>) => run(['adapters', 'list', '--port', String(port)], { env });
  assert.match((await list({ LORIKEET_API_KEY: key })).stdout, /^theirs@1/);
  const refused = await list({});
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /invalid_api_key\)\n.*LORIKEET_API_KEY/);
});

test('export writes a file or a folder when it is whole, and nothing before', async (t) => {
  const tar = packTar([{ type: 'content', target: 'config.json', content: '{}' }]);
  const folderBytes = Buffer.concat(await tar.toArray());
  let breaks = false;
  const ggufBytes = async function* () {
    yield Buffer.from('GGUF');
    if (breaks) throw new LorikeetError('offline_failed');
  };
  const exportMerged: OfflineClient['exportMerged'] = async ({ format }) =>
    format === 'gguf'
      ? { bytes: breaks ? 100 : 4, body: Readable.from(ggufBytes()) }
      : { bytes: folderBytes.length, body: Readable.from([folderBytes]) };
  const offline = fakeOffline({ exportMerged });
  const { folder, write, ask } = await server(t, { deps: { offline } });
  await ask('push', write('style'), '--name', 'org/style');
  const file = join(folder, 'out.gguf');
  const done = await ask('export', 'org/style', '--format', 'gguf', '--dtype', 'F32', '--to', file);
  assert.deepEqual(
    [done.code, done.stdout],
    [0, `The base model with org/style@1 merged in is ${file}.\n`],
    done.stderr,
  );
  assert.equal(readFileSync(file, 'utf8'), 'GGUF');
  assert.partialDeepStrictEqual(offline.asked[0], { format: 'gguf', dtype: 'F32' });
  assert.equal((await ask('export', 'org/style', '--format', 'gguf', '--to', file)).code, 2, 'nothing is overwritten');
  assert.equal((await ask('export', 'org/style', '--to', join(folder, 'x'))).code, 2, 'a format is needed');
  const to = join(folder, 'out');
  assert.equal((await ask('export', 'org/style', '--format', 'safetensors', '--to', to)).code, 0);
  assert.equal(readFileSync(join(to, 'config.json'), 'utf8'), '{}');
  breaks = true;
  const broken = await ask('export', 'org/style', '--format', 'gguf', '--to', join(folder, 'broken.gguf'));
  assert.equal(broken.code, 1);
  assert.match(broken.stderr, /^lorikeet: The download broke off/);
  assert.deepEqual(
    readdirSync(folder).filter((name) => /partial|broken/.test(name)),
    [],
  );
});

test('analyse prints a line for each kind of linear', async (t) => {
  const { write, ask } = await server(t);
  await ask('push', write('style'));
  const lines = (await ask('analyse', 'style')).stdout.split('\n');
  assert.deepEqual(lines, [
    'What style@1 adds to each linear: means over layers.',
    'module  layers  r  norm  effective rank  stable rank  amplification',
    'q_proj  1       2  3.25  1.75            1.10         20.0',
    '',
  ]);
  assert.match((await ask('analyse', 'style', '--against', 'style@1')).stdout, /20\.0 +1\.000 +1\.000\n$/);
  assert.equal(JSON.parse((await ask('analyse', 'style', '--json')).stdout).linears.length, 1);
  assert.match((await ask('analyse', 'style', '--against', 'x')).stderr, /adapter_not_found/);
});
