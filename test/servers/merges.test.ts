// Merges on several servers: a merge that one is asked for is made by all, and where one fails the others continue.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { openMerges } from '../../src/jobs/merges/merge-keeper.ts';
import type { MergesOptions } from '../../src/jobs/merges/merges.ts';
import type { MergeEvent } from '../../src/protocol/messages.ts';
import { mergeTable } from '../../src/storage/merge-table.ts';
import { fakeEngine } from '../helpers/fake-engine.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { newDatabaseUrl, withoutPostgres } from '../helpers/test-database.ts';
import { upload } from '../helpers/test-registry.ts';
import { replicaRegistry } from '../helpers/test-replicas.ts';
import { waitFor } from '../helpers/waits.ts';

async function serverOn(
  t: TestContext,
  id: string,
  url: string,
  store: ReturnType<typeof memoryStore>,
  options: Pick<MergesOptions, 'assertQuota'> = {},
) {
  const registry = await replicaRegistry(t, id, url, { store });
  const engine = fakeEngine({});
  const merges = await openMerges({
    table: mergeTable(registry.database),
    ...{ registry, engine, limits, clock: systemClock, timers: systemTimers, changes: registry.replica },
    budgetBytes: 1_000_000,
    probes: () => [],
    keepsAutomatic: true,
    log: { info: () => {}, warn: () => {}, error: () => {} },
    ...options,
  });
  t.after(() => merges.close());
  const state = () => merges.list().map((merge) => `${merge.state} ${merge.failure?.code ?? ''}`.trim());
  return {
    ...{ registry, engine, merges, state },
    async is(...states: string[]): Promise<void> {
      await waitFor(
        () => `merges ${states}; ${state()}`,
        () => state().join() === states.join(),
      );
    },
    async asked(times: number): Promise<string> {
      await waitFor(`the engine is asked for merge ${times}`, () => engine.mergesAsked.length >= times);
      return engine.mergesAsked.at(-1)!;
    },
  };
}

const failure = { state: 'failed', code: 'merge_budget_exceeded', message: 'Too little memory here.' } as const;
const success = { state: 'merged', bits: 4, bytes: 400, ms: 1, quality: null } as const;

test('a merge that one server cannot make is merged on the others, and tried again when it is asked for again', {
  skip: withoutPostgres,
}, async (t) => {
  const url = await newDatabaseUrl();
  const store = memoryStore();
  const [a, b] = [await serverOn(t, 'a', url, store), await serverOn(t, 'b', url, store)];
  const { adapter } = await upload(a.registry, 'x', 1);
  const order = { tenant: 'default', adapters: [{ adapter, scale: 1 }], bits: null, createdBy: null, automatic: false };
  await a.merges.want(order);
  const key = await a.asked(1);
  assert.equal(await b.asked(1), key);
  a.engine.tellMerge({ key, ...failure } as MergeEvent);
  await a.is('failed merge_budget_exceeded');
  b.engine.tellMerge({ key, ...success } as MergeEvent);
  await b.is('merged');
  // A server that starts now finds the merge in the store.
  const c = await serverOn(t, 'c', url, store);
  assert.equal(await c.asked(1), key);
  c.engine.tellMerge({ key, ...success } as MergeEvent);
  await c.is('merged');
  assert.deepEqual(b.state(), ['merged']);
  // The merge is ordered again on another server, and the server where it failed tries again.
  const before = a.engine.mergesAsked.length;
  await b.merges.want(order);
  await a.asked(before + 1);
  a.engine.tellMerge({ key, ...success } as MergeEvent);
  await a.is('merged');
  await c.merges.unmerge('default', a.merges.list()[0]!.key, 'admin');
  for (const server of [a, b, c]) await server.is();
});

test('servers that are asked for merges at once make no more of them than the quota', {
  skip: withoutPostgres,
}, async (t) => {
  const url = await newDatabaseUrl();
  const store = memoryStore();
  const assertQuota: MergesOptions['assertQuota'] = (_keeper, field, { tenant }) => {
    if (tenant > 2) throw new LorikeetError('insufficient_quota', { message: `${tenant} ${field}` });
  };
  const servers = await Promise.all(['a', 'b', 'c'].map((id) => serverOn(t, id, url, store, { assertQuota })));
  const adapters = await Promise.all([1, 2, 3, 4].map((seed) => upload(servers[seed % 3]!.registry, `x${seed}`, seed)));
  for (let round = 0; round < 5; round++) {
    const asked = adapters.map(({ adapter }, i) =>
      servers[(i + round) % 3]!.merges.want({
        ...{ tenant: 'default', adapters: [{ adapter, scale: 1 }], bits: null, createdBy: null, automatic: false },
      }),
    );
    const settled = await Promise.allSettled(asked);
    const refusals = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []));
    assert.deepEqual(refusals, ['insufficient_quota', 'insufficient_quota'], `round ${round}`);
    // A refusal leaves nothing behind, and the rest is everywhere.
    for (const { merges } of servers) await waitFor('two merges', () => merges.list('default').length === 2);
    for (const { key } of servers[0]!.merges.list('default')) await servers[1]!.merges.unmerge('default', key, 'admin');
    for (const server of servers) await server.is();
  }
});
