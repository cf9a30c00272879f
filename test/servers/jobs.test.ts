// Training jobs and batches of servers that share a PostgreSQL and a store: a dead server's job is taken by another, a
// server that only seemed dead writes nothing more, and limits hold over all servers.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { sql } from 'kysely';
import { limits } from '../../src/core/limits.ts';
import { jobTable } from '../../src/storage/job-table.ts';
import { below } from '../../src/storage/object-store.ts';
import { type FakeTrainerOptions, fakeTrainer } from '../helpers/fake-trainer.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { newBatch } from '../helpers/test-batches.ts';
import { newDatabaseUrl, withoutPostgres } from '../helpers/test-database.ts';
import { testJobs } from '../helpers/test-jobs.ts';
import { replicaRegistry } from '../helpers/test-replicas.ts';
import { waitFor } from '../helpers/waits.ts';

const needed = { skip: withoutPostgres };

async function servers(t: TestContext, names: readonly string[], options: FakeTrainerOptions) {
  const [url, store] = [await newDatabaseUrl(), memoryStore()];
  const open = async (id: string) => {
    const registry = await replicaRegistry(t, id, url, { store });
    const { replica } = registry;
    const trainer = fakeTrainer({ ...options });
    const jobs = await testJobs(t, {
      ...{ registry, trainer, folder: join(registry.folder, 'training') },
      jobs: { changes: replica, shared: below(store, 'training'), newId: randomUUID },
    });
    return { ...jobs, trainer, replica };
  };
  return { store, servers: await Promise.all(names.map(open)) };
}

type Server = Awaited<ReturnType<typeof servers>>['servers'][number];

async function stepsOf({ jobs }: Server, id: string): Promise<number[]> {
  const events = await jobs.events('default', id, { after: null, limit: 100 });
  return events.flatMap(({ data }) => (data === null ? [] : [data.step!])).reverse();
}

test('a job is taken over at its last checkpoint, and who had it before writes nothing more', needed, async (t) => {
  const opened = await servers(t, ['a', 'b'], { stepMs: null });
  const [a, b] = opened.servers as [Server, Server];
  const { id } = await a.create({ choices: { maxSteps: 6, checkpointSteps: 2, seed: 1 } });
  await waitFor('one server has the job', () => a.trainer.alive + b.trainer.alive > 0);
  const [first, second] = a.trainer.alive > 0 ? [a, b] : [b, a];
  for (let step = 0; step < 3; step++) first.trainer.step();
  const checkpoints = () => second.jobs.checkpoints('default', id, { after: null, limit: 9 });
  await waitFor(
    'three steps and a checkpoint',
    async () => (await checkpoints()).length > 0 && (await stepsOf(second, id)).length >= 3,
  );
  const stop = new AbortController();
  const followed: number[] = [];
  const following = (async () => {
    for await (const { data } of await second.jobs.follow('default', id, null, stop.signal)) {
      if (data !== null) followed.push(data.step!);
    }
  })();

  // To the others this server is dead. It does not know that, and its trainer goes on.
  await first.replica.close();
  await waitFor('the other server has the job', () => second.trainer.alive > 0);
  for (let step = 0; step < 2; step++) first.trainer.step();
  for (let step = 0; step < 4; step++) second.trainer.step();
  first.trainer.step();
  second.trainer.step();
  const job = await second.reaches(id, 'succeeded');
  first.trainer.step();
  // Its last messages have been sent when its trainer has ended.
  await waitFor('its trainer ends', () => first.trainer.alive === 0);
  await following;

  assert.deepEqual(await stepsOf(second, id), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(followed.toSorted(), followed, 'in order');
  assert.equal(followed.at(-1), 6);
  assert.equal((await second.jobs.find('default', id)).adapter, job.adapter);
  const versions = await second.registry.versions('default', job.adapter!.replace(/@\d+$/, ''));
  assert.equal(versions.length, 1);
  // The job's checkpoints are removed after its last event.
  const kept = () => [...opened.store.objects.keys()].filter((key) => key.includes('/work/'));
  await waitFor(
    () => `checkpoints are gone: ${kept()}`,
    () => kept().length === 0,
  );
});

test('each job runs on one server, tenants in turn; one that is cancelled elsewhere stops', needed, async (t) => {
  const opened = await servers(t, ['a', 'b', 'c'], { stepMs: 1 });
  const all = opened.servers;
  const made = [];
  for (let i = 0; i < 9; i++) {
    const tenant = ['a', 'b', 'c'][i % 3]!;
    made.push(await all[i % 3]!.create({ tenant, choices: { maxSteps: 5, checkpointSteps: 5, seed: i } }));
  }
  for (const { id } of made) await all[0]!.reaches(id, 'succeeded');
  const lives = all.map(({ trainer }) => trainer.lives);
  assert.equal(
    lives.reduce((sum, count) => sum + count),
    made.length,
    `${lives}`,
  );
  for (const { trainer } of all) trainer.options.stepMs = null;
  const { id } = await all[0]!.create();
  await waitFor('one server has the job', () => all.some(({ trainer }) => trainer.alive > 0));
  const runs = all.findIndex(({ trainer }) => trainer.alive > 0);
  await all[(runs + 1) % 3]!.jobs.cancel('default', id);
  await waitFor('its trainer ends', () => all[runs]!.trainer.alive === 0);
  assert.equal((await all[runs]!.jobs.find('default', id)).state, 'cancelled');
});

test("tenants' turns hold over all servers: who has had none comes before the next of who has", needed, async (t) => {
  const { servers: all } = await servers(t, ['x', 'y'], { stepMs: null });
  const make = (tenant: string, seed: number) =>
    all[seed % 2]!.create({ tenant, choices: { maxSteps: 1, checkpointSteps: 1, seed } });
  const many = [];
  for (let seed = 0; seed < 5; seed++) many.push(await make('a', seed));
  await waitFor('each server has a job', () => all.every(({ trainer }) => trainer.jobs.length === 1));
  const few = [await make('b', 5), await make('c', 6)];
  for (const { trainer } of all) {
    trainer.options.stepMs = 1;
    for (let step = 0; step < 2; step++) trainer.step();
  }
  const rows = jobTable(all[0]!.registry.database);
  const startedAt = async ({ id }: { readonly id: string }) => {
    await all[0]!.reaches(id, 'succeeded');
    return (await rows.get(id))!.started_at!;
  };
  const [late, early] = [await Promise.all(many.map(startedAt)), await Promise.all(few.map(startedAt))];
  const later = late.toSorted((a, b) => a - b).slice(2);
  assert.ok(Math.max(...early) <= Math.min(...later), `${early} before ${later}`);
});

test('two servers that ask for the last place of a live batch at once do not both get it', needed, async (t) => {
  const { servers: all } = await servers(t, ['a', 'b'], { stepMs: null });
  const [a, b] = all as [Server, Server];
  const { inputFile } = await a.batches.find('t', await newBatch(a, 1));
  const create = ({ batches }: Server) =>
    batches.create('t', { createdBy: null, inputFile, endpoint: '/v1/completions', metadata: null });
  for (let made = 1; made < limits.liveBatches - 1; made++) await create(a);
  const asked = await a.registry.database.transaction().execute(async (holding) => {
    // Batches can be read and not inserted until both servers wait: for the table, or for each other.
    await sql`lock table batches in share mode`.execute(holding);
    const results = Promise.allSettled([create(a), create(b)]);
    await waitFor('both servers wait', async () => {
      const waiting = await sql`select 1 from pg_locks join pg_database on oid = database
        where datname = current_database() and not granted`.execute(holding);
      return waiting.rows.length === 2;
    });
    return { results };
  });
  const ends = await asked.results;
  const refused = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason.code] : []));
  assert.deepEqual(refused, ['batch_limit_exceeded']);
  const listed = await b.batches.list('t', { after: null, limit: 2 * limits.liveBatches });
  assert.equal(listed.length, limits.liveBatches);
});
