// Batches without a server: kills, expiry, and turns of tenants.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock, systemTimers, type Timers } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import { waitingPlaces } from '../../src/core/waiting-places.ts';
import { finishedBatchStates, type LineAnswer } from '../../src/jobs/batches/batches.ts';
import type { OpenJobs } from '../../src/jobs/jobs.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newBatch, newBatchOf, openBatchesIn } from '../helpers/test-batches.ts';
import { waitFor } from '../helpers/waits.ts';

const child = fileURLToPath(new URL('../fixtures/batches-child.ts', import.meta.url));
const lines = 120;
const kills = 4;
const ok = (body: unknown): LineAnswer => ({ status: 200, requestId: 'r', body, retryAfterSeconds: null });

async function ends({ batches }: OpenJobs, id: string, tenant = 't') {
  await waitFor(`${id} ends`, async () => finishedBatchStates.includes((await batches.find(tenant, id)).state));
  return await batches.find(tenant, id);
}

async function customIds({ files }: OpenJobs, id: string | null): Promise<string[]> {
  if (id === null) return [];
  const text = readFileSync(files.pathOf(await files.find('t', id)), 'utf8').trimEnd();
  return text.split('\n').map((line) => JSON.parse(line).custom_id);
}

test('a process that is killed over and over answers no line twice and forgets none', async (t) => {
  const folder = temporaryFolder(t);
  const before = await openBatchesIn(folder);
  const id = await newBatch(before, lines);
  await before.close();
  const asked: string[] = [];
  let isOver = false;
  for (let life = 0; life < kills && !isOver; life++) {
    const running = spawn(process.execPath, [child, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    const some = Promise.withResolvers<void>();
    running.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      // Another number of lines in each life, so that the kills come at different points.
      if (text.split('asked ').length > 8 + life * 5) some.resolve();
    });
    const ended = once(running, 'close');
    await Promise.race([some.promise, ended]);
    running.kill('SIGKILL');
    await ended;
    asked.push(...[...text.matchAll(/asked (\d+)\n/g)].map(([, number]) => number!));
    isOver = !text.includes('asked');
  }
  const after = await openBatchesIn(folder);
  t.after(() => after.close());
  const counts = (await after.batches.find('t', id)).counts;
  assert.ok(counts.completed + counts.failed > 0, 'what was answered before the kills is kept');
  const again: string[] = [];
  after.batches.start(async ({ body }) => {
    const { id: number } = body as { id: string };
    again.push(number);
    const said = { id: number };
    return number.endsWith('7') ? { ...ok(said), status: 400 } : ok(said);
  });
  const batch = await ends(after, id);
  assert.deepEqual([batch.state, batch.counts], ['completed', { total: lines, completed: 108, failed: 12 }]);
  const [output, errors] = [await customIds(after, batch.outputFile), await customIds(after, batch.errorFile)];
  const all = Array.from({ length: lines }, (_, i) => `${i}`);
  assert.deepEqual(
    output,
    all.filter((number) => !number.endsWith('7')),
  );
  assert.deepEqual(
    errors,
    all.filter((number) => number.endsWith('7')),
  );
  // At each kill at most three lines were under way, and only these were asked again.
  assert.ok(asked.length + again.length <= lines + 3 * kills, `${asked.length + again.length} were asked`);
  assert.equal((await after.database.selectFrom('batch_answers').selectAll().execute()).length, 0);
});

test('what has no answer when the time is over has expired, the rest is kept', async (t) => {
  let now = systemClock.now();
  const expiries: (() => void)[] = [];
  const timers: Timers = {
    after(ms, call) {
      if (ms < 3_600_000) return systemTimers.after(ms, call);
      expiries.push(call);
      return () => {};
    },
  };
  const testing = await openBatchesIn(temporaryFolder(t), { clock: { ...systemClock, now: () => now }, timers });
  t.after(() => testing.close());
  const id = await newBatch(testing, 5);
  testing.batches.start(async ({ body, signal }) => {
    if ((body as { id: string }).id === '0') return ok({});
    await once(signal, 'abort');
    throw signal.reason;
  });
  await waitFor('the first line', async () => (await testing.batches.find('t', id)).counts.completed > 0);
  now += limits.batchWindowMs + 1;
  for (const expire of expiries) expire();
  const batch = await ends(testing, id);
  assert.deepEqual([batch.state, batch.counts.completed], ['expired', 1]);
  assert.deepEqual(await customIds(testing, batch.outputFile), ['0']);
  assert.deepEqual(await customIds(testing, batch.errorFile), ['1', '2', '3', '4']);
});

test('of one tenant a batch follows the other, and another tenant waits for neither', async (t) => {
  const testing = await openBatchesIn(temporaryFolder(t), { batchPlaces: () => 2 });
  t.after(() => testing.close());
  const ids = [await newBatch(testing, 1, 'a'), await newBatch(testing, 3, 'a'), await newBatch(testing, 3, 'b')];
  const asked: string[] = [];
  testing.batches.start(async ({ tenant }) => {
    asked.push(tenant);
    // The line ends only if b's line gets the second place, which a's next batch would otherwise take.
    if (tenant === 'a') await waitFor("b's line", async () => asked.includes('b'));
    return ok({});
  });
  await Promise.all(ids.map((id, i) => ends(testing, id, 'aab'[i]!)));
  assert.deepEqual(asked.toSorted().join(''), 'aaaabbb');
});

test('a tenant whose lines are refused again and again keeps no other tenant waiting', async (t) => {
  const testing = await openBatchesIn(temporaryFolder(t), { batchPlaces: () => 2 });
  t.after(() => testing.close());
  const refused = await newBatch(testing, 5, 'a');
  const good = await newBatch(testing, 20, 'b');
  let [now, most] = [0, 0];
  testing.batches.start(async ({ tenant }) => {
    if (tenant === 'a') return { ...ok({}), status: 429, retryAfterSeconds: 1 };
    most = Math.max(most, ++now);
    await setTimeout(1);
    now--;
    return ok({});
  });
  assert.equal((await ends(testing, good, 'b')).state, 'completed');
  assert.ok(most <= 2, `${most} at once`);
  assert.equal((await testing.batches.find('a', refused)).state, 'in_progress');
});

test('a file of blank lines, and lines of many numbers, hold nothing up', async (t) => {
  const testing = await openBatchesIn(temporaryFolder(t));
  t.after(() => testing.close());
  testing.batches.start(async () => ok({}));
  const row = { custom_id: 'a', method: 'POST', url: '/v1/completions', body: { seed: 0, prompt: [0] } };
  const zeros = `[${'0,'.repeat(400_000)}0]`;
  const line = JSON.stringify(row).replace('"seed":0', '"seed":1234567890123456789').replace('[0]', zeros);
  const cases = [
    ['\n'.repeat(3_000_000), /more than 100000 lines/],
    [`${line}\n`.repeat(2), /is that of line 1/],
  ] as const;
  for (const [text, says] of cases) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    const id = await newBatchOf(testing, text);
    delay.enable();
    const { state, problems } = await ends(testing, id);
    delay.disable();
    t.diagnostic(`longest stop ${(delay.max / 1e6).toFixed(1)} ms`);
    assert.equal(state, 'failed');
    assert.match(problems[0]!.message, says);
  }
});

test('places are given in the order of asking', async () => {
  const places = waitingPlaces(() => 1);
  const order: string[] = [];
  const first = await places.take();
  const later = ['a', 'b', 'c'].map(async (name) => {
    const giveBack = await places.take();
    order.push(name);
    giveBack();
    giveBack();
  });
  first();
  await Promise.all(later);
  assert.deepEqual(order, ['a', 'b', 'c']);
});

test('a tenant has so many batches that are not over, and no more', async (t) => {
  const testing = await openBatchesIn(temporaryFolder(t));
  t.after(() => testing.close());
  for (let i = 0; i < limits.liveBatches; i++) await newBatch(testing, 1);
  await assert.rejects(newBatch(testing, 1), { code: 'batch_limit_exceeded' });
  await newBatch(testing, 1, 'other');
});
