// A process that trains is killed at random moments, repeatedly on the same folders: while jobs are made, wait, train,
// pause or are cancelled, and often while a result becomes an adapter. Afterwards every acknowledged job ends as it
// would have undisturbed: one version of the right content, one results file, no step reported twice.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/core/clock.ts';
import { type Prng, prng } from '../../src/core/prng.ts';
import { adapterDigest } from '../../src/formats/adapter-digest.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { isOrphan, testJobs } from '../helpers/test-jobs.ts';
import { testRegistry } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';
import { until } from '../helpers/waits.ts';

const child = fileURLToPath(new URL('../fixtures/jobs-child.ts', import.meta.url));
const processes = 12;
const folders = 6;

type Promised = { seed: number; mayBeCancelled: boolean };

/** @returns the lines that it wrote, by folder. The last one may be cut short and then promises nothing. */
async function runAndKill(paths: readonly string[], random: Prng): Promise<string[][]> {
  const seed = String(Math.floor(random() * 1e9));
  const running = spawn(process.execPath, [child, seed, ...paths], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(running, 'close');
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  let text = '';
  running.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    if (text.split('ready\n').length > paths.length) resolve();
  });
  await Promise.race([begun, ended]);
  await setTimeout(random() * 800);
  running.kill('SIGKILL');
  assert.deepEqual(await ended, [null, 'SIGKILL'], text);
  const lines = text.split('\n').slice(0, -1);
  return paths.map((_, i) => lines.flatMap((line) => (line.startsWith(`${i} `) ? [line.slice(`${i} `.length)] : [])));
}

function keep(lines: readonly string[], promised: Map<string, Promised>): void {
  for (const line of lines) {
    const [kind, id = '', seed] = line.split(' ');
    if (kind === '!') assert.fail(line);
    if (kind === '+') promised.set(id, { seed: Number(seed), mayBeCancelled: false });
    if (kind === '-') promised.get(id)!.mayBeCancelled = true;
  }
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

function digestOf(seed: number): string {
  const { config, weights } = tinyAdapter(seed * 1000);
  return adapterDigest(sha256(config), sha256(weights));
}

/** Opens what the killed processes left, lets every job end, and checks its result. */
async function inspect(t: TestContext, folder: string, promised: ReadonlyMap<string, Promised>): Promise<number> {
  const database = await openDatabase(join(folder, 'lorikeet.db'));
  const registry = await testRegistry(t, { database, folder: join(folder, 'adapters') });
  const testing = await testJobs(t, { registry, folder: join(folder, 'training') });
  const { jobs, files } = testing;
  const all = await jobs.list('default', { after: null, limit: 100_000 });
  const ids = new Set(all.map(({ id }) => id));
  for (const id of promised.keys()) assert.ok(ids.has(id), `lost: ${id}`);
  let succeeded = 0;
  for (const { id, state, spec } of all) {
    if (state === 'paused') await jobs.resume('default', id);
    const job = await testing.reaches(id, 'succeeded', 'cancelled', 'failed');
    const { seed, mayBeCancelled } = promised.get(id) ?? { seed: spec.hyperparameters.seed, mayBeCancelled: true };
    if (job.state === 'cancelled' && mayBeCancelled) continue;
    assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
    succeeded++;
    const versions = await registry.versions('default', spec.adapterName);
    assert.deepEqual(
      versions.map(({ digest }) => digest),
      [digestOf(seed)],
      id,
    );
    assert.equal(job.adapter, `${spec.adapterName}@1`);
    assert.equal((await registry.training(versions[0]!))?.job, id);
    assert.equal((await files.find('default', job.resultFile!)).purpose, 'fine-tune-results');
    const events = await jobs.events('default', id, { after: null, limit: 1000 });
    const steps = events.flatMap(({ data }) => data?.step ?? []);
    // Events of the last quarter of a second before a kill may be lost; none is there twice.
    assert.deepEqual(
      steps,
      [...new Set(steps)].sort((a, b) => b - a),
      id,
    );
    assert.equal(steps[0], 3, id);
  }
  // The row changes before the folder is removed.
  await until(() => readdirSync(join(folder, 'training', 'work')).length === 0);
  assert.deepEqual(
    testing.log.filter((line) => line.level !== 'info' && !isOrphan(line)),
    [],
  );
  await jobs.close(0);
  await registry.close();
  await database.destroy();
  return succeeded;
}

test(`kill -9 of ${processes} processes that train in ${folders} folders each`, async (t) => {
  const seed = Math.floor(systemClock.now()) % 1e9;
  t.diagnostic(`seed ${seed}`);
  const random = prng(seed);
  const root = temporaryFolder(t);
  const paths = Array.from({ length: folders }, (_, index) => join(root, String(index)));
  for (const path of paths) mkdirSync(path);
  const promised = paths.map(() => new Map<string, Promised>());
  for (let killed = 0; killed < processes; killed++) {
    const lines = await runAndKill(paths, random);
    for (const [i, some] of lines.entries()) keep(some, promised[i]!);
  }
  let succeeded = 0;
  for (const [i, path] of paths.entries()) succeeded += await inspect(t, path, promised[i]!);
  const made = promised.reduce((sum, { size }) => sum + size, 0);
  t.diagnostic(`${made} jobs acknowledged, none lost; ${succeeded} adapters, each once; ${processes * folders} kills`);
  assert.ok(succeeded > 0);
});
