// Servers in processes of their own over one PostgreSQL and one S3, behind the gateway: what one has the others have,
// and when one is killed nobody who asks through the gateway notices.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { ask, fleet, generate, json, jsonBody, type Place, post } from '../helpers/fleet.ts';
import { haproxy } from '../helpers/gateways.ts';
import { createDatabaseOn, freePort } from '../helpers/postgres-server.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';
import { signal } from '../simulation/running-servers.ts';

const skip = withoutPostgres || withoutS3 || haproxy.missing;
/** Minutes on a loaded machine. */
const byHand = process.env.LORIKEET_TEST_FLEET === 'on' ? false : 'by hand: LORIKEET_TEST_FLEET=on';

const rows = '{"prompt":"a","completion":"b"}\n'.repeat(4);

async function fileOf(url: string): Promise<string> {
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  form.set('file', new Blob([rows]), 'rows.jsonl');
  return (await json(`${url}/v1/files`, { method: 'POST', body: form })).id;
}

async function train(url: string, suffix: string, steps: number): Promise<string> {
  const hyperparameters = { max_steps: steps, checkpoint_steps: 10, r: 2, batch_size: 1, max_tokens: 32 };
  const method = { type: 'supervised', supervised: { hyperparameters } };
  const training_file = await fileOf(url);
  return (await post(`${url}/v1/fine_tuning/jobs`, { model: 'llama', training_file, suffix, seed: 3, method })).id;
}

async function reaches(url: string, id: string, status: string) {
  for (;;) {
    const job = await json(`${url}/v1/fine_tuning/jobs/${id}`);
    if (job.status === status) return job;
    assert.ok(!['failed', 'cancelled', 'succeeded'].includes(job.status), JSON.stringify(job.error));
    await setTimeout(50);
  }
}

async function newFleet(t: TestContext, count: number): Promise<Place[]> {
  const env = { LORIKEET_DATABASE_URL: await createDatabaseOn(postgresForTests!), LORIKEET_BLOB_URL: newBucketUrl() };
  return await fleet(t, Array(count).fill(env));
}

test('what one server has the other has, also when the first one is killed', { skip }, async (t) => {
  const [a, b] = (await newFleet(t, 2)) as [Place, Place];
  const job = await reaches(b.url, await train(a.url, 'x', 2), 'succeeded');
  const before = await generate(a.url, job.fine_tuned_model);
  assert.deepEqual(await generate(b.url, 'x'), before);
  await a.server.kill();
  assert.deepEqual(await generate(b.url, job.fine_tuned_model), before);
  assert.equal(await (await ask(`${b.url}/v1/files/${job.training_file}/content`)).text(), rows);
});

test('a server is killed under load while it trains: answers and the job arrive', {
  skip: skip || byHand,
}, async (t) => {
  const places = (await newFleet(t, 2)) as [Place, Place];
  const [{ url: a }, { url: b }] = places;
  const [one, two] = places.map(({ port }) => `127.0.0.1:${port}`) as [string, string];
  // The third one is never there.
  const gateway = await haproxy.start(t, [one, two, `127.0.0.1:${await freePort()}`]);
  const { fine_tuned_model: calm } = await reaches(a, await train(b, 'calm', 2), 'succeeded');
  const before = await generate(a, calm);
  assert.deepEqual(await generate(b, calm), before);
  while ((await ask(`${gateway}/readyz`).catch(() => null))?.status !== 200) await setTimeout(20);
  let isOver = false;
  let answered = 0;
  const client = async (reference: string) => {
    for (; !isOver; answered++) {
      assert.deepEqual(await generate(gateway, reference), before);
      await setTimeout(50);
    }
  };
  const clients = Promise.all([client(calm), client('calm')]);
  const more = async (answers: number) => {
    for (const target = answered + answers; answered < target; ) await Promise.race([setTimeout(10), clients]);
  };

  const steps = 60;
  const id = await train(a, 'stormy', steps);
  while ((await json(`${b}/v1/fine_tuning/jobs/${id}/checkpoints`)).data.length === 0) await setTimeout(20);
  const at = places.findIndex(({ server }) => server.pidOf('trainer') !== null);
  assert.notEqual(at, -1);
  const [hit, other] = [places[at]!, places[1 - at]!];
  // Whoever follows it on the other one hears it to its end.
  const followed = followSteps(other.url, id);
  await hit.server.kill();
  await more(5);
  hit.start();
  const job = await reaches(other.url, id, 'succeeded');
  assert.equal(job.fine_tuned_model, 'stormy@1');
  const resumed = Number(/goes on from step (\d+)/.exec((await followed).join('\n'))?.[1]);
  assert.ok(resumed >= 10 && resumed < steps, `from step ${resumed}`);
  const { data } = await json(`${other.url}/v1/fine_tuning/jobs/${id}/events?limit=100`);
  // biome-ignore lint/suspicious/noExplicitAny: events of several kinds
  const taken = data.filter(({ type }: any) => type === 'metrics').map((event: any) => event.data.step);
  assert.deepEqual(
    taken,
    Array.from({ length: steps }, (_, i) => steps - i),
    'each step once',
  );

  // One that stands still for longer than its lease is waited for by nobody, and is right when it goes on.
  assert.equal(await hit.server.url, hit.url);
  signal(other.server.pidOf('server'), 'SIGSTOP');
  await more(5);
  await setTimeout(3500);
  const targets = { targets: [{ version: 1, weight: 1 }] };
  await json(`${hit.url}/v1/adapters/stormy/aliases/prod`, jsonBody('PUT', targets));
  signal(other.server.pidOf('server'), 'SIGCONT');
  await generate(other.url, 'stormy:prod');
  isOver = true;
  await clients;
  t.diagnostic(`${answered} answers`);
});

/** What a follower hears, to the end. */
async function followSteps(url: string, id: string): Promise<string[]> {
  const answer = await ask(`${url}/v1/fine_tuning/jobs/${id}/events?stream=true`);
  const text = await answer.text();
  return text.split('\n').filter((line) => line.startsWith('data: '));
}
