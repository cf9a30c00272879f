// A process that changes registries is killed at random moments, its start included, repeatedly on the same folders.
// Whatever it acknowledged is there afterwards, with every byte, and nothing else is.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/core/clock.ts';
import { type Prng, prng } from '../../src/core/prng.ts';
import type { AdapterVersion } from '../../src/registry/adapter-registry.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { isOrphan } from '../helpers/test-jobs.ts';
import { testRegistry } from '../helpers/test-registry.ts';
import { assertIntact } from './intact.ts';

const child = fileURLToPath(new URL('../fixtures/registry-child.ts', import.meta.url));
/** Starting a process takes longest, so each killed process has several registries. */
const processes = 25;
const registries = 8;

/** @returns the lines that it wrote, by registry. The last one may be cut short and then promises nothing. */
async function runAndKill(folders: readonly string[], random: Prng): Promise<string[][]> {
  const seed = String(Math.floor(random() * 1e9));
  const running = spawn(process.execPath, [child, seed, ...folders], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(running, 'close');
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  // One in five dies during its start, two in five when the first registry is open, two in five after the first upload.
  const share = random();
  const [cue, msMax] = share < 0.2 ? ['starting\n', 30] : [share < 0.6 ? 'ready\n' : ' + ', 200];
  let text = '';
  running.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    if (text.includes(cue)) resolve();
  });
  await Promise.race([begun, ended]);
  await setTimeout(random() * msMax);
  running.kill('SIGKILL');
  assert.deepEqual(await ended, [null, 'SIGKILL'], text);
  const lines = text.split('\n').slice(0, -1);
  return folders.map((_, index) =>
    lines.filter((line) => line.startsWith(`${index} `)).map((line) => line.slice(`${index} `.length)),
  );
}

/** Checks what these lines promise, beside what was there before. @returns the number of acknowledged uploads */
function checkPromises(
  lines: readonly string[],
  before: readonly AdapterVersion[],
  now: readonly AdapterVersion[],
): number {
  const key = ({ name, version, digest }: AdapterVersion) => `${name} ${version} ${digest}`;
  const promised = new Set(before.map(key));
  let deleting: string | null = null;
  let uploads = 0;
  for (const line of lines) {
    const [kind, name = '', ...version] = line.split(' ');
    if (kind === '!') assert.fail(line);
    if (kind === '+') uploads++;
    if (kind === '+') promised.add([name, ...version].join(' '));
    if (kind === '-') for (const entry of promised) if (entry.startsWith(`${name} `)) promised.delete(entry);
    deleting = kind === '-' ? name : null;
  }
  const found = new Set(now.map(key));
  for (const entry of promised) assert.ok(found.has(entry), `lost: ${entry}`);
  const others = [...found].filter((entry) => !promised.has(entry) && !entry.startsWith(`${deleting} `));
  assert.ok(others.length <= 1, `there without a promise, and more than the one in flight: ${others}`);
  return uploads;
}

/** Opens and checks what a killed process left. */
async function inspect(t: TestContext, folder: string, lines: readonly string[], before: readonly AdapterVersion[]) {
  const database = await openDatabase(join(folder, 'lorikeet.db'));
  const registry = await testRegistry(t, { database, folder: join(folder, 'adapters') });
  const now = await assertIntact(registry, registry.folder, ['default']);
  const uploads = checkPromises(lines, before, now);
  for (const { name } of now) {
    for (const { alias } of await registry.aliases('default', name)) {
      (await registry.lease('default', `${name}:${alias}`)).release();
    }
  }
  // A kill between content and row leaves one content, which is set aside.
  const complaints = registry.log.filter((line) => line.level !== 'info' && !isOrphan(line));
  assert.deepEqual(complaints, []);
  const orphans = registry.log.filter(isOrphan).length;
  assert.ok(orphans <= 1, `${orphans} orphans of one kill`);
  await registry.close();
  await database.destroy();
  return { now, uploads, orphans };
}

test(`kill -9 of ${processes} processes with ${registries} registries each`, async (t) => {
  const began = systemClock.monotonic();
  const seed = Math.floor(systemClock.now()) % 1e9;
  t.diagnostic(`seed ${seed}`);
  const random = prng(seed);
  const root = temporaryFolder(t);
  const folders = Array.from({ length: registries }, (_, index) => join(root, String(index)));
  for (const folder of folders) mkdirSync(folder);
  const versions = new Map<string, readonly AdapterVersion[]>();
  const total = { uploads: 0, orphans: 0 };
  for (let killed = 0; killed < processes; killed++) {
    const lines = await runAndKill(folders, random);
    for (const [index, folder] of folders.entries()) {
      const { now, uploads, orphans } = await inspect(t, folder, lines[index]!, versions.get(folder) ?? []);
      versions.set(folder, now);
      total.uploads += uploads;
      total.orphans += orphans;
    }
  }
  const seconds = (systemClock.monotonic() - began) / 1000;
  t.diagnostic(`${total.uploads} uploads acknowledged, none lost; ${total.orphans} orphans set aside`);
  t.diagnostic(`${processes * registries} registries killed in ${seconds.toFixed(1)} s`);
  assert.ok(total.uploads > 0);
});
