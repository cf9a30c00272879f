// A tenant's quota is shared by all servers, whichever is asked.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { openPostgres } from '../../src/storage/database.ts';
import type { Quota } from '../../src/tenants/quota.ts';
import { noQuotas, openService, type Service } from '../../src/tenants/service.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { newDatabaseUrl, withoutPostgres } from '../helpers/test-database.ts';
import { testJobs } from '../helpers/test-jobs.ts';
import { upload } from '../helpers/test-registry.ts';
import { replicaRegistry, testReplica } from '../helpers/test-replicas.ts';
import { waitFor } from '../helpers/waits.ts';

const needed = { skip: withoutPostgres };
const names = ['a', 'b', 'c'];
const caller = { tenant: 't', keyPrefix: null };

async function serviceOn(t: TestContext, id: string, url: string, defaults: Quota): Promise<Service> {
  const database = await openPostgres(url);
  t.after(() => database.destroy());
  const changes = await testReplica(t, id, url);
  const service = await openService({
    ...{ database, defaults, source: noQuotas, changes, clock: systemClock, timers: systemTimers },
    log: { warn: () => {}, error: () => {} },
  });
  t.after(() => service.close());
  return service;
}

const three = (t: TestContext, url: string, quota: Quota): Promise<Service[]> =>
  Promise.all(names.map((id) => serviceOn(t, id, url, quota)));

/** @returns whether it was admitted */
const isIn = (asked: Promise<unknown>): Promise<boolean> =>
  asked.then(
    () => true,
    (error) => {
      if (error instanceof LorikeetError && error.code === 'rate_limit_exceeded') return false;
      throw error;
    },
  );

test(
  'requests a minute: three servers at once let in what the quota is, and not three times as much',
  needed,
  async (t) => {
    const most = 90;
    const services = await three(t, await newDatabaseUrl(), { requests_per_minute: most });
    const began = performance.now();
    const asked = Array.from({ length: 6 * most }, (_, i) => isIn(services[i % 3]!.rates.request(caller)));
    const given = (await Promise.all(asked)).filter(Boolean).length;
    const minutes = (performance.now() - began) / 60_000;
    assert.ok(given <= most * (1 + minutes) + 1, `${given}`);
    // A server keeps what it has leased and not used for two seconds.
    assert.ok(given >= most - 3 * (most / 20), `${given}`);
    for (const service of services) {
      const [state] = service.rates.states(caller);
      assert.ok(state!.remaining <= most / 10 + most * minutes, JSON.stringify(state));
      await assert.rejects(
        waitFor('a refusal', () => service.rates.request(caller).then(() => false), { everyMs: 0 }),
        (error: LorikeetError) => error.code === 'rate_limit_exceeded' && error.retryAfterSeconds! >= 1,
      );
    }
  },
);

test('tokens a minute: what an answer takes at one server is missing at the others', needed, async (t) => {
  const services = await three(t, await newDatabaseUrl(), { tokens_per_minute: 600 });
  const [a, b] = services as [Service, Service, Service];
  const end = await a.rates.begin(caller, { tokens: 100, sequences: 1 });
  a.rates.takerOf(caller)(2000);
  end();
  await waitFor('a refusal', async () => !(await isIn(b.rates.request(caller))));
  await assert.rejects(b.rates.begin(caller, { tokens: 1, sequences: 1 }), { code: 'rate_limit_exceeded' });
});

test('sequences at once are counted over all servers, and a dead one leaves its places', needed, async (t) => {
  const url = await newDatabaseUrl();
  const services = await three(t, url, { concurrent_sequences: 6 });
  const ends: (() => void)[] = [];
  let refused = 0;
  for (let i = 0; i < 12; i++) {
    const asked = services[i % 3]!.rates.begin(caller, { tokens: 1, sequences: 1 });
    if (await isIn(asked)) ends.push(await asked);
    else refused++;
  }
  assert.ok(ends.length <= 6 && ends.length >= 4, `${ends.length}`);
  assert.equal(refused, 12 - ends.length);
  for (const end of ends) end();
  // Servers without sequences return their parts, so that one server may then have all places.
  const all = { tokens: 1, sequences: 6 };
  await waitFor('all places', () => isIn(services[1]!.rates.begin(caller, all)), { everyMs: 0 });
  assert.equal(await isIn(services[0]!.rates.begin(caller, { tokens: 1, sequences: 1 })), false);
  // It ends without returning its part.
  await services[1]!.close();
  const fourth = await serviceOn(t, 'd', url, { concurrent_sequences: 6 });
  await waitFor('places of the dead', () => isIn(fourth.rates.begin(caller, all)), { everyMs: 100 });
});

test(
  'what is kept is counted where the row is made: uploads to three servers at once stay within it',
  needed,
  async (t) => {
    const url = await newDatabaseUrl();
    const store = memoryStore();
    const quota = { adapters: 5, files: 4, jobs: 2 };
    const services = await three(t, url, quota);
    const open = services.map(async ({ assertQuota, hasQuota }, i) => {
      const registry = await replicaRegistry(t, `r${i}`, url, { store, assertQuota, hasQuota });
      const jobs = {
        assertQuota,
        database: registry.database,
        changes: registry.replica,
        shared: store,
        newId: randomUUID,
      };
      return { registry, jobs: await testJobs(t, { registry, isIdle: true, jobs }) };
    });
    const servers = await Promise.all(open);
    const kept = async (tries: Promise<unknown>[]) => {
      const done = await Promise.allSettled(tries);
      for (const one of done) if (one.status === 'rejected') assert.equal(one.reason.code, 'insufficient_quota');
      return done.filter(({ status }) => status === 'fulfilled').length;
    };
    const each = <T>(count: number, work: (at: (typeof servers)[number], i: number) => T): T[] =>
      Array.from({ length: count }, (_, i) => work(servers[i % 3]!, i));
    assert.equal(await kept(each(12, ({ registry }, i) => upload(registry, `n${i}`, i))), 5);
    assert.equal(await kept(each(9, ({ jobs }, i) => jobs.file({ rows: 4 + i }))), 4);
    const [file] = await servers[0]!.jobs.files.list('default', {
      purposes: ['fine-tune', 'batch'],
      after: null,
      limit: 1,
      newestFirst: true,
    });
    assert.equal(await kept(each(6, ({ jobs }) => jobs.create({ trainingFile: file!.id }))), 2);
    // Refused uploads left no content behind.
    const contents = [...store.objects.keys()].filter((key) => key.includes('adapters') && key.includes('weights'));
    assert.ok(contents.length <= 5, contents.join(' '));
  },
);
