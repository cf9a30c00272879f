// Training jobs of servers that share a PostgreSQL and a store: one server's death leaves its job to another, and a
// server that only seemed dead writes nothing any more.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { openDatabase } from '../../src/storage/database.ts';
import { below } from '../../src/storage/object-store.ts';
import { type FakeTrainerOptions, fakeTrainer } from '../helpers/fake-trainer.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { createDatabaseOn } from '../helpers/postgres-server.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { testJobs } from '../helpers/test-jobs.ts';
import { replicaRegistry } from '../helpers/test-replicas.ts';

const needed = { skip: withoutPostgres };

async function servers(t: TestContext, names: readonly string[], options: FakeTrainerOptions) {
  const [url, store] = [await createDatabaseOn(postgresForTests!), memoryStore()];
  await (await openDatabase(url)).destroy();
  const open = async (id: string) => {
    const registry = await replicaRegistry(t, id, url, { store });
    const { replica } = registry;
    const trainer = fakeTrainer({ ...options });
    const jobs = await testJobs(t, {
      ...{ registry, trainer, folder: join(registry.folder, 'training') },
      jobs: { changes: replica, shared: below(store, 'training') },
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
  while (a.trainer.alive + b.trainer.alive === 0) await setTimeout(2);
  const [first, second] = a.trainer.alive > 0 ? [a, b] : [b, a];
  for (let step = 0; step < 3; step++) first.trainer.step();
  const checkpoints = () => second.jobs.checkpoints('default', id, { after: null, limit: 9 });
  while ((await checkpoints()).length === 0 || (await stepsOf(second, id)).length < 3) await setTimeout(5);
  const stop = new AbortController();
  const followed: number[] = [];
  const following = (async () => {
    for await (const { data } of await second.jobs.follow('default', id, null, stop.signal)) {
      if (data !== null) followed.push(data.step!);
    }
  })();

  // To others it is dead. It does not know: its trainer goes on.
  await first.replica.close();
  while (second.trainer.alive === 0) await setTimeout(5);
  for (let step = 0; step < 2; step++) first.trainer.step();
  for (let step = 0; step < 4; step++) second.trainer.step();
  first.trainer.step();
  second.trainer.step();
  const job = await second.reaches(id, 'succeeded');
  first.trainer.step();
  // Whatever it has to say it has said by then.
  while (first.trainer.alive > 0) await setTimeout(5);
  await following;

  assert.deepEqual(await stepsOf(second, id), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(followed.toSorted(), followed, 'in order');
  assert.equal(followed.at(-1), 6);
  assert.equal((await second.jobs.find('default', id)).adapter, job.adapter);
  const versions = await second.registry.versions('default', job.adapter!.replace(/@\d+$/, ''));
  assert.equal(versions.length, 1);
  // What it had come to on the way goes after its last word.
  while ([...opened.store.objects.keys()].some((key) => key.includes('/work/'))) await setTimeout(5);
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
  while (all.every(({ trainer }) => trainer.alive === 0)) await setTimeout(2);
  const runs = all.findIndex(({ trainer }) => trainer.alive > 0);
  await all[(runs + 1) % 3]!.jobs.cancel('default', id);
  while (all[runs]!.trainer.alive > 0) await setTimeout(2);
  assert.equal((await all[runs]!.jobs.find('default', id)).state, 'cancelled');
});
