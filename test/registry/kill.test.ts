// A process that changes the registry is killed at random moments, start included, over and over in the same folder.
// Whatever it said was done is there afterwards, with every byte, and nothing else is.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/core/clock.ts';
import { type Prng, prng } from '../../src/core/prng.ts';
import type { AdapterVersion } from '../../src/registry/adapter-registry.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { temporaryFolder, testRegistry } from '../helpers/test-registry.ts';
import { assertIntact } from './intact.ts';

const child = fileURLToPath(new URL('../fixtures/registry-child.ts', import.meta.url));
const kills = 200;
const chains = 2;

/** @returns the lines that it wrote. The last one may be cut short, and is no promise then. */
async function runAndKill(folder: string, random: Prng): Promise<string[]> {
  const seed = Math.floor(random() * 1e9);
  const running = spawn(process.execPath, [child, folder, String(seed)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(running, 'close');
  let text = '';
  const { promise: started, resolve } = Promise.withResolvers<void>();
  // One in four dies while it starts, the others at work.
  const cue = random() < 0.25 ? 'starting\n' : 'ready\n';
  running.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    if (text.includes(cue)) resolve();
  });
  await Promise.race([started, ended]);
  await setTimeout(random() * 40);
  running.kill('SIGKILL');
  const [code, signal] = await ended;
  assert.deepEqual([code, signal], [null, 'SIGKILL'], text);
  return text.split('\n').slice(0, -1);
}

/** What must be true after these lines, on top of what was there before them. */
function check(lines: readonly string[], before: readonly AdapterVersion[], now: readonly AdapterVersion[]): number {
  const key = (name: string, version: number | string, digest: string) => `${name} ${version} ${digest}`;
  const sure = new Set(before.map(({ name, version, digest }) => key(name, version, digest)));
  const drop = (name: string) => {
    for (const entry of sure) if (entry.startsWith(`${name} `)) sure.delete(entry);
  };
  let deleting = '';
  let uploads = 0;
  for (const line of lines) {
    const [kind, name = '', version = '', digest = ''] = line.split(' ');
    if (kind === '!') assert.fail(line);
    if (kind === '+') uploads++;
    if (kind === '+') sure.add(key(name, version, digest));
    if (kind === '-') drop(name);
    deleting = kind === '-' ? name : '';
  }
  const found = new Set(now.map(({ name, version, digest }) => key(name, version, digest)));
  for (const entry of sure) assert.ok(found.has(entry), `lost: ${entry}`);
  const open = [...found].filter((entry) => !sure.has(entry) && !entry.startsWith(`${deleting} `));
  assert.ok(open.length <= 1, `there without a promise, but for one in flight: ${open}`);
  return uploads;
}

async function chain(t: TestContext, seed: number): Promise<{ uploads: number; aliases: number }> {
  const folder = temporaryFolder(t);
  const random = prng(seed);
  let before: AdapterVersion[] = [];
  const counts = { uploads: 0, aliases: 0 };
  for (let kill = 0; kill < kills / chains; kill++) {
    const lines = await runAndKill(folder, random);
    const database = await openDatabase(join(folder, 'lorikeet.db'));
    const registry = await testRegistry(t, { database, folder: join(folder, 'adapters') });
    const now = await assertIntact(registry, join(folder, 'adapters'), ['default']);
    counts.uploads += check(lines, before, now);
    for (const { name } of now) {
      for (const { targets } of await registry.aliases('default', name)) {
        (await registry.lease('default', `${name}@${targets[0]!.version}`)).release();
        counts.aliases++;
      }
    }
    assert.deepEqual(
      registry.log.filter(({ level }) => level !== 'info'),
      [],
    );
    await registry.close();
    await database.destroy();
    before = now;
  }
  return counts;
}

test(`kill -9, ${kills} times`, async (t) => {
  const began = systemClock.monotonic();
  const seed = Math.floor(systemClock.now()) % 1e9;
  t.diagnostic(`seed ${seed}`);
  const results = await Promise.all(Array.from({ length: chains }, (_, index) => chain(t, seed + index)));
  const uploads = results.reduce((sum, result) => sum + result.uploads, 0);
  const seconds = (systemClock.monotonic() - began) / 1000;
  t.diagnostic(`${kills} kills, ${uploads} uploads acknowledged, none lost, no orphan left, ${seconds.toFixed(1)} s`);
  assert.ok(uploads > 0);
});
