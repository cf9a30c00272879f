// Registries and keys of several servers over one PostgreSQL and one store: what one acknowledges, no other
// contradicts.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { prng } from '../../src/core/prng.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { keyTable } from '../../src/storage/key-table.ts';
import { besideReplicas } from '../../src/storage/replicas/open-replica.ts';
import { keyStore } from '../../src/tenants/keys.ts';
import { openTenancy } from '../../src/tenants/tenancy.ts';
import { cutLink, throughPort } from '../helpers/cut-link.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { sized, sizedTimeoutMs } from '../helpers/sizes.ts';
import { newDatabaseUrl, withoutPostgres } from '../helpers/test-database.ts';
import { upload } from '../helpers/test-registry.ts';
import { type ReplicaRegistry, replicaRegistry, testReplica } from '../helpers/test-replicas.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';
import { waitFor } from '../helpers/waits.ts';

const needed = { skip: withoutPostgres };
const long = { ...needed, timeout: sizedTimeoutMs };
const names = ['a', 'b', 'c'];

async function three(t: TestContext, options: Parameters<typeof replicaRegistry>[3] = {}): Promise<ReplicaRegistry[]> {
  const [url, store] = [await newDatabaseUrl(), memoryStore()];
  return await Promise.all(names.map((id) => replicaRegistry(t, id, url, { store, ...options })));
}

/** The version that a request for the reference gets from this server. */
async function meant(registry: ReplicaRegistry, reference: string): Promise<number> {
  const lease = await registry.lease('default', reference);
  lease.release();
  return lease.adapter.version;
}

test('an alias that was moved is moved on every server', long, async (t) => {
  const servers = await three(t);
  for (const seed of [1, 2]) await upload(servers[0]!, 'x', seed);
  const [moves, random] = [sized(60, 1000), prng(1)];
  for (let i = 0; i < moves; i++) {
    const version = 1 + (i % 2);
    const by = servers[Math.floor(random() * 3)]!;
    await by.setAlias('default', { name: 'x', alias: 'prod', targets: [{ version, weight: 1 }], expected: null });
    const found = await Promise.all(servers.map((server) => meant(server, 'x:prod')));
    assert.deepEqual(found, [version, version, version], `move ${i}`);
  }
});

test('clocks that are hours apart change nothing of who is waited for', needed, async (t) => {
  const [url, store] = [await newDatabaseUrl(), memoryStore()];
  const hours = [-5, 0, 30];
  const clocks = hours.map((by) => ({ ...systemClock, now: () => systemClock.now() + by * 3_600_000 }));
  const open = names.map((id, i) =>
    replicaRegistry(t, id, url, { store, clock: clocks[i]!, replica: { clock: clocks[i]! } }),
  );
  const servers = await Promise.all(open);
  for (const seed of [1, 2]) await upload(servers[seed]!, 'x', seed);
  for (let i = 0; i < 12; i++) {
    const version = 1 + (i % 2);
    const targets = [{ version, weight: 1 }];
    await servers[i % 3]!.setAlias('default', { name: 'x', alias: 'prod', targets, expected: null });
    const found = await Promise.all(servers.map((server) => meant(server, 'x:prod')));
    assert.deepEqual(found, [version, version, version], `move ${i}`);
    for (const { replica } of servers) assert.equal((await replica.living()).size, 3);
  }
  const listed = await servers[0]!.replica.list();
  assert.ok(
    listed.every(({ leaseMs }) => leaseMs > 0),
    JSON.stringify(listed),
  );
  await servers[2]!.delete('default', 'x', null);
  for (const server of servers) await assert.rejects(meant(server, 'x@1'), { code: 'adapter_not_found' });
});

test('what was uploaded to one server answers on every other, under its name too', long, async (t) => {
  const servers = await three(t);
  const count = sized(30, 1500);
  for (let i = 0; i < count; i++) {
    const by = servers[i % 3]!;
    // Two of three names are new to all servers.
    const name = i % 3 === 2 ? `n${i % 5}` : `new${i}`;
    const { adapter } = await upload(by, name, i);
    for (const server of servers) {
      for (const reference of [name, `${name}@${adapter.version}`]) {
        const lease = await server.lease('default', reference);
        assert.deepEqual(readFileSync(lease.files.weights), Buffer.from(tinyAdapter(i).weights));
        lease.release();
      }
    }
  }
});

test('a deletion waits for who uses the version on another server, and nobody new gets it', needed, async (t) => {
  const [a, b, c] = (await three(t)) as [ReplicaRegistry, ReplicaRegistry, ReplicaRegistry];
  await upload(a, 'x', 1);
  const held = await b.lease('default', 'x');
  let isOver = false;
  const deleted = a.delete('default', 'x', null).then(() => {
    isOver = true;
  });
  await waitFor('its holder is told', () => held.deleting.aborted, { everyMs: 2 });
  for (const server of [a, b, c]) await assert.rejects(server.lease('default', 'x@1'), { code: 'adapter_deleting' });
  assert.equal(isOver, false);
  assert.deepEqual(readFileSync(held.files.weights), Buffer.from(tinyAdapter(1).weights));
  held.release();
  await deleted;
  for (const server of [a, b, c]) await assert.rejects(server.lease('default', 'x@1'), { code: 'adapter_not_found' });
});

test('content that is published again while it goes is there afterwards', needed, async (t) => {
  const store = memoryStore();
  const servers = await three(t, { store });
  for (let round = 0; round < 15; round++) {
    const [a, b, c] = [0, 1, 2].map((i) => servers[(round + i) % 3]!) as [
      ReplicaRegistry,
      ReplicaRegistry,
      ReplicaRegistry,
    ];
    await upload(a, `old${round}`, 7);
    (await b.lease('default', `old${round}`)).release();
    await Promise.all([a.delete('default', `old${round}`, null), upload(b, `new${round}`, 7)]);
    for (const server of [a, b, c]) {
      const lease = await server.lease('default', `new${round}`);
      assert.deepEqual(readFileSync(lease.files.weights), Buffer.from(tinyAdapter(7).weights), `round ${round}`);
      lease.release();
    }
    await c.delete('default', `new${round}`, null);
    assert.equal(store.objects.size, 0, `round ${round}`);
  }
});

test('a server that died in the middle of a deletion is not waited for, and another one ends it', needed, async (t) => {
  const [url, store] = [await newDatabaseUrl(), memoryStore()];
  const a = await replicaRegistry(t, 'a', url, { store });
  await upload(a, 'x', 1);
  const held = await a.lease('default', 'x');
  const cut = a.delete('default', 'x', null);
  cut.catch(() => {});
  await waitFor('its holder is told', () => held.deleting.aborted, { everyMs: 2 });
  // The server is gone with all its leases.
  await a.close();
  await a.replica.close();
  await assert.rejects(cut, { code: 'server_draining' });
  const b = await replicaRegistry(t, 'b', url, { store });
  await b.swept;
  await assert.rejects(b.lease('default', 'x@1'), { code: 'adapter_not_found' });
  assert.equal(store.objects.size, 0);
});

test('a key that was revoked is refused on every server, whoever revoked it', needed, async (t) => {
  const url = await newDatabaseUrl();
  const servers = await Promise.all(
    names.map(async (id) => {
      const database = await openDatabase(url);
      t.after(() => database.destroy());
      return await openTenancy(database, systemClock, await testReplica(t, id, url));
    }),
  );
  const database = await openDatabase(url);
  t.after(() => database.destroy());
  const beside = keyStore(keyTable(database), systemClock, besideReplicas(database, systemClock, systemTimers));
  for (let i = 0; i < 20; i++) {
    const { key, record } = await beside.create({ tenant: 't', name: '', scopes: ['generate'] });
    const verified = () => Promise.all(servers.map(async ({ keys }) => (await keys.verify(key)) !== null));
    assert.deepEqual(await verified(), [true, true, true]);
    const by = i % 4 === 3 ? beside : servers[i % 4]!.keys;
    assert.equal(await by.revoke(record.prefix), true);
    assert.deepEqual(await verified(), [false, false, false], `key ${i}`);
  }
  for (const disabled of [true, false]) {
    await servers[0]!.tenants.change('t', { disabled });
    assert.deepEqual(
      servers.map(({ tenants }) => tenants.isDisabled('t')),
      [disabled, disabled, disabled],
    );
  }
  await Promise.all([
    servers[0]!.tenants.change('t', { disabled: true }),
    servers[1]!.tenants.change('t', { quota: { adapters: 3 } }),
  ]);
  assert.deepEqual(servers[2]!.tenants.quotaOf('t'), { adapters: 3 });
  assert.equal(servers[2]!.tenants.isDisabled('t'), true);
});

for (const staleMsMax of [0, 60_000]) {
  const does = staleMsMax === 0 ? 'refuses' : 'goes on to serve';
  test(
    `a server whose link is down ${does} names, and serves versions; then it is right at once`,
    needed,
    async (t) => {
      const [url, store] = [await newDatabaseUrl(), memoryStore()];
      const link = await cutLink(t, Number(new URL(url).port));
      const a = await replicaRegistry(t, 'a', url, { store, replica: { leaseMs: 800 } });
      const b = await replicaRegistry(t, 'b', throughPort(url, link.port), {
        store,
        replica: { leaseMs: 800, staleMsMax },
      });
      for (const seed of [1, 2]) await upload(a, 'x', seed);
      const move = (version: number) =>
        a.setAlias('default', { name: 'x', alias: 'prod', targets: [{ version, weight: 1 }], expected: null });
      await move(1);
      assert.equal(await meant(b, 'x:prod'), 1);
      link.cut = true;
      // The move is acknowledged when the other server's lease is over.
      await move(2);
      assert.equal(await meant(a, 'x:prod'), 2);
      if (staleMsMax === 0) await assert.rejects(meant(b, 'x:prod'), { code: 'storage_unavailable' });
      else assert.equal(await meant(b, 'x:prod'), 1);
      assert.ok(b.replica.staleMs > 0);
      assert.equal(await meant(b, 'x@1'), 1);
      link.cut = false;
      await waitFor('its lease runs again', () => b.replica.staleMs === 0, { everyMs: 5 });
      assert.equal(await meant(b, 'x:prod'), 2);
    },
  );
}

test('who is there is listed, with what each has not seen', needed, async (t) => {
  const url = await newDatabaseUrl();
  const [a, b] = [await testReplica(t, 'a', url), await testReplica(t, 'b', url)];
  b.describe(() => ({ version: '1' }));
  b.hint();
  const isTold = async () => {
    const listed = await a.list();
    assert.deepEqual(
      listed.map(({ id, isSelf }) => [id, isSelf]),
      [
        ['a', true],
        ['b', false],
      ],
    );
    return listed[1]!.status.version === '1';
  };
  await waitFor('what it says of itself', isTold, { everyMs: 5 });
  assert.deepEqual([...(await a.living())].sort(), ['a', 'b']);
  await b.close();
  assert.deepEqual(
    (await a.list()).map(({ id }) => id),
    ['a'],
  );
});
