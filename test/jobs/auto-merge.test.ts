// Automatic merging over real merges, a fake engine and a clock that the test sets.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { mergeKey } from '../../src/core/adapter.ts';
import { limits } from '../../src/core/limits.ts';
import { autoMerge } from '../../src/jobs/merges/auto-merge.ts';
import type { AutoMergeDecision } from '../../src/jobs/merges/auto-merge-policy.ts';
import { measureTraffic } from '../../src/jobs/merges/traffic.ts';
import type { AdapterVersion } from '../../src/registry/adapter-registry.ts';
import type { Database } from '../../src/storage/database.ts';
import { virtualTime } from '../fixtures/virtual-time.ts';
import { type TestAppOptions, testApp } from '../helpers/app.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';

const keyOf = ({ digest }: AdapterVersion) => mergeKey([{ files: { digest }, scale: 1 }]);

/** Waits until everything that was begun is over with its queries: each query waits for those before it. */
async function turns(database: Database): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await setImmediate();
    await database.selectFrom('merges').select('tenant').execute();
  }
}

async function autoApp(t: TestContext, options: TestAppOptions = {}) {
  const time = virtualTime();
  const testing = await testApp(t, { ...options, deps: { clock: time, ...options.deps } });
  const { engine, merges, app } = testing;
  const traffic = measureTraffic(time, limits);
  const decisions: AutoMergeDecision[] = [];
  const changes: string[] = [];
  const lines: Record<string, unknown>[] = [];
  const write = (fields: object) => void lines.push({ ...fields });
  const stop = autoMerge({
    ...{ merges, traffic, engine, limits, clock: time, timers: time, shareUp: 0.5, shareDown: 0.2 },
    bits: 8,
    audit: { write: async ({ actor, action, target }) => void changes.push(`${actor} ${action} ${target}`) },
    log: { info: write, warn: write, error: write },
    onDecision: (decision) => void decisions.push(decision),
  });
  t.after(stop);
  return {
    ...testing,
    ...{ time, decisions, lines, changes },
    /** Counts tokens in the window. */
    generated(tokens: number, adapter?: AdapterVersion) {
      const count = traffic.counterOf({ tenant: 'default', adapters: adapter ? [{ adapter, scale: 1 }] : [] });
      for (let i = 0; i < tokens; i++) count(time.monotonic());
    },
    /** Lets the policy look, and waits for what it decides. */
    async look(ms: number = limits.autoMergePeriodMs) {
      // Waits until the look before is over and has set its timer.
      await turns(options.database ?? testing.database);
      time.advance(ms);
      await turns(options.database ?? testing.database);
    },
    merged: (key: string, bytes = 400) =>
      engine.tellMerge({ key: `${key} in 8 bits`, state: 'merged', bits: 4, bytes, ms: 1500, quality: null }),
    states: () => merges.list().map(({ state, automatic }) => `${automatic ? 'automatic' : 'admin'} ${state}`),
    ask: (method: 'POST' | 'DELETE') => app.inject({ method, url: '/v1/admin/adapters/a/merge' }),
  };
}

test('a heavy adapter is merged, and unmerged when its traffic has gone and its life is over', async (t) => {
  const { registry, generated, look, merged, states, decisions, lines, changes, time } = await autoApp(t);
  const a = await registry.add('a');
  generated(100, a);
  await look();
  assert.equal(decisions.length, 0, 'too little to say anything');
  generated(1900, a);
  generated(1000);
  await look();
  assert.deepEqual(states(), ['automatic merging']);
  const { bytes, ...decision } = decisions[0]!;
  assert.ok(bytes > 0, 'by the shape of the model');
  assert.deepEqual(decision, { key: keyOf(a), decision: 'merge', reason: 'share', share: 2 / 3, freeBytes: 1_000_000 });
  assert.deepEqual([lines[0]?.adapters, lines[0]?.tokens, lines[0]?.decision], [['a@1'], 3000, 'merge']);
  merged(keyOf(a));
  time.advance(limits.trafficWindowMs);
  generated(2000);
  await look();
  assert.deepEqual(states(), ['automatic merged'], 'it has its life');
  time.advance(limits.autoMergeLifeMs - limits.trafficWindowMs);
  await look();
  assert.deepEqual(states(), ['automatic merged'], 'no traffic at all says nothing');
  generated(2000);
  await look();
  assert.deepEqual([states(), registry.held, decisions.at(-1)?.decision], [[], 0, 'unmerge']);
  assert.deepEqual(changes, ['policy merges.create a@1', 'policy merges.delete a@1']);
});

test('an admin takes over what was merged automatically, and may keep it from coming back', async (t) => {
  const { registry, generated, look, merged, states, ask, time, decisions } = await autoApp(t);
  const a = await registry.add('a');
  generated(2000, a);
  await look();
  merged(keyOf(a));
  assert.equal((await ask('POST')).json().automatic, false);
  time.advance(limits.autoMergeLifeMs + limits.trafficWindowMs);
  generated(2000);
  await look();
  assert.deepEqual(states(), ['admin merged']);
  await ask('DELETE');
  time.advance(limits.trafficWindowMs);
  generated(2000, a);
  await look();
  assert.deepEqual([states(), decisions.at(-1)?.reason], [[], 'rests']);
  await look(limits.autoMergeRetryMs);
  generated(2000, a);
  await look();
  assert.deepEqual(states(), ['automatic merging']);
});

test('a refusal of the engine is remembered, leaves no merge behind, and is told once', async (t) => {
  const { registry, engine, generated, look, states, lines, decisions } = await autoApp(t);
  const a = await registry.add('a');
  generated(2000, a);
  await look();
  engine.tellMerge({
    key: `${keyOf(a)} in 8 bits`,
    state: 'failed',
    code: 'merge_budget_exceeded',
    message: 'Too much.',
  });
  assert.deepEqual([states(), registry.held], [[], 0]);
  for (let i = 0; i < 3; i++) await look();
  assert.deepEqual(
    decisions.map(({ reason }) => reason),
    ['share', 'rests', 'rests', 'rests'],
  );
  assert.equal(lines.filter(({ reason }) => reason === 'rests').length, 1);
});

test('what a merge really took is what the next one is expected to take', async (t) => {
  const { registry, generated, look, merged, ask, decisions, time } = await autoApp(t);
  const a = await registry.add('a');
  generated(2000, a);
  await look();
  merged(keyOf(a), 900);
  await ask('DELETE');
  time.advance(limits.autoMergeRetryMs);
  generated(2000, a);
  await look();
  assert.deepEqual([decisions.at(-1)?.decision, decisions.at(-1)?.bytes], ['merge', 900]);
});

test('an adapter that goes between two looks is no trouble', async (t) => {
  const { registry, generated, look, states, lines } = await autoApp(t);
  const a = await registry.add('a');
  generated(2000, a);
  await registry.delete('default', 'a', null);
  await look();
  assert.deepEqual(states(), []);
  assert.ok(lines.some(({ err }) => (err as { code?: string } | undefined)?.code === 'adapter_not_found'));
});

test('automatic merges come back after a restart, where the setting still asks for them', async (t) => {
  const database = await newDatabase();
  t.after(() => database.destroy());
  const options = { database, registry: { database, folder: temporaryFolder(t) } };
  const first = await autoApp(t, options);
  const a = await first.registry.add('a');
  first.generated(2000, a);
  await first.look();
  await first.merges.close();
  const second = await autoApp(t, options);
  await second.look();
  assert.deepEqual(second.states(), ['automatic merging']);
  const third = await autoApp(t, { ...options, keepsAutomatic: false });
  assert.deepEqual(third.states(), []);
  assert.equal((await database.selectFrom('merges').selectAll().execute()).length, 0);
});
