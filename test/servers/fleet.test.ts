// Servers in processes of their own over one PostgreSQL and one S3, behind the gateway: what one has the others have,
// and when one is killed nobody who asks through the gateway notices.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type Addresses, haproxy } from '../helpers/gateways.ts';
import { createDatabaseOn, freePort } from '../helpers/postgres-server.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';
import { launchServer, type ServerProcess, signal } from '../simulation/running-servers.ts';

const skip = withoutPostgres || withoutS3 || haproxy.missing;
const rows = '{"prompt":"a","completion":"b"}\n'.repeat(4);

/** Servers behind a proxy let nobody in without a key. */
const key = 'the-admin-key';
const ask = (url: string, init: RequestInit = {}) =>
  fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${key}` } });

// biome-ignore lint/suspicious/noExplicitAny: answers of many routes
async function json(url: string, init?: RequestInit): Promise<any> {
  const answer = await ask(url, init);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text);
}

const post = (url: string, body: object) =>
  json(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

async function generate(url: string, adapter: string) {
  const body = { prompt: 'a', adapter_id: adapter, max_tokens: 4, temperature: 0 };
  const answer = await post(`${url}/v1/generate`, body);
  return { adapter: answer.adapter, text: answer.text };
}

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

type Place = { server: ServerProcess; readonly port: number; readonly url: string; start(): void };

async function fleet(t: TestContext, count: number): Promise<Place[]> {
  const env = {
    LORIKEET_DATABASE_URL: await createDatabaseOn(postgresForTests!),
    LORIKEET_BLOB_URL: newBucketUrl(),
    LORIKEET_ADMIN_KEY: key,
    AWS_ACCESS_KEY_ID: process.env.AWS_ACCESS_KEY_ID ?? '',
    AWS_SECRET_ACCESS_KEY: process.env.AWS_SECRET_ACCESS_KEY ?? '',
  };
  const places: Place[] = [];
  for (let i = 0; i < count; i++) {
    const folder = mkdtempSync(join(tmpdir(), 'lorikeet-fleet-'));
    const port = await freePort();
    const start = () => launchServer(folder, env, port);
    const place: Place = {
      server: start(),
      port,
      url: `http://127.0.0.1:${port}`,
      start() {
        place.server = start();
      },
    };
    places.push(place);
    t.after(async () => {
      await place.server.kill();
      rmSync(folder, { recursive: true, force: true });
    });
  }
  for (const { server, url } of places) assert.equal(await server.url, url);
  return places;
}

test('a job goes on at its last checkpoint when its server is killed', { skip }, async (t) => {
  const places = await fleet(t, 2);
  const [{ url: a }, { url: b }] = places as [Place, Place];
  const steps = 80;
  const calm = await reaches(a, await train(b, 'calm', 20), 'succeeded');
  assert.deepEqual(await generate(b, calm.fine_tuned_model), await generate(a, calm.fine_tuned_model));

  const id = await train(a, 'stormy', steps);
  while ((await json(`${b}/v1/fine_tuning/jobs/${id}/checkpoints`)).data.length === 0) await setTimeout(20);
  const at = places.findIndex(({ server }) => server.pidOf('trainer') !== null);
  assert.notEqual(at, -1);
  const [hit, other] = [places[at]!, places[1 - at]!];
  // Whoever follows it on the other one hears it to its end.
  const followed = followSteps(other.url, id);
  await hit.server.kill();
  const job = await reaches(other.url, id, 'succeeded');
  assert.equal(job.fine_tuned_model, 'stormy@1');
  await generate(other.url, 'stormy');
  const told = await followed;
  const resumed = Number(/goes on from step (\d+)/.exec(told.join('\n'))?.[1]);
  assert.ok(resumed >= 10 && resumed < steps, told.join('\n'));
  const events = [];
  for (let after = ''; ; ) {
    const page = await json(`${other.url}/v1/fine_tuning/jobs/${id}/events?limit=100${after}`);
    events.push(...page.data);
    if (!page.has_more) break;
    after = `&after=${page.data.at(-1).id}`;
  }
  const taken = events.filter(({ type }) => type === 'metrics').map(({ data }) => data.step);
  assert.equal(new Set(taken).size, taken.length, 'each step once');
  assert.equal(Math.max(...taken), steps);
});

/** What a follower hears, to the end. */
async function followSteps(url: string, id: string): Promise<string[]> {
  const answer = await ask(`${url}/v1/fine_tuning/jobs/${id}/events?stream=true`);
  const text = await answer.text();
  return text.split('\n').filter((line) => line.startsWith('data: '));
}

test('servers are killed under load, and every answer arrives', { skip }, async (t) => {
  const places = (await fleet(t, 3)) as [Place, Place, Place];
  const [a, b, c] = places;
  const addresses = places.map(({ port }) => `127.0.0.1:${port}`) as unknown as Addresses;
  const gateway = await haproxy.start(t, addresses);
  const id = await train(a.url, 'x', 4);
  const { fine_tuned_model: adapter } = await reaches(b.url, id, 'succeeded');
  const before = await generate(c.url, adapter);
  let isOver = false;
  let answered = 0;
  const client = async () => {
    while (!isOver) {
      assert.deepEqual(await generate(gateway, answered % 2 === 0 ? adapter : 'x'), before);
      answered++;
      await setTimeout(10);
    }
  };
  while ((await fetch(`${gateway}/readyz`).catch(() => null))?.status !== 200) await setTimeout(20);
  const clients = Array.from({ length: 4 }, client);
  const kills = 2;
  for (let i = 0; i < kills; i++) {
    const place = places[i % 3]!;
    const target = answered + 10;
    while (answered < target) await Promise.race([setTimeout(10), ...clients]);
    if (i === 1) {
      // It stands still for longer than its lease: nobody waits for it, and it is right when it goes on.
      signal(place.server.pidOf('server'), 'SIGSTOP');
      await setTimeout(4000);
      signal(place.server.pidOf('server'), 'SIGCONT');
    } else {
      await place.server.kill();
      place.start();
    }
    assert.equal(await place.server.url, place.url);
  }
  isOver = true;
  await Promise.all(clients);
  t.diagnostic(`${answered} answers, ${kills} servers gone in between`);
});
