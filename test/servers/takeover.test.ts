// A server over PostgreSQL and S3 needs nothing of its own machine: when it is killed, one with an empty data dir goes
// on.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createDatabaseOn } from '../helpers/postgres-server.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';
import { launchServer, type ServerProcess } from '../simulation/running-servers.ts';

const rows = '{"prompt":"a","completion":"b"}\n'.repeat(4);

async function trained(url: string): Promise<{ file: string; adapter: string }> {
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  form.set('file', new Blob([rows]), 'rows.jsonl');
  const { id: file } = await json(`${url}/v1/files`, { method: 'POST', body: form });
  const hyperparameters = { max_steps: 2, r: 2 };
  const { id } = await post(`${url}/v1/fine_tuning/jobs`, {
    ...{ model: 'llama', training_file: file, method: { type: 'supervised', supervised: { hyperparameters } } },
  });
  for (;;) {
    const job = await json(`${url}/v1/fine_tuning/jobs/${id}`);
    if (job.status === 'succeeded') return { file, adapter: job.fine_tuned_model };
    assert.notEqual(job.status, 'failed', JSON.stringify(job.error));
    await setTimeout(100);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: answers of many routes
async function json(url: string, init?: RequestInit): Promise<any> {
  const answer = await fetch(url, init);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text);
}

const post = (url: string, body: object) =>
  json(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

test('another server goes on where one was killed', { skip: withoutPostgres || withoutS3 }, async (t: TestContext) => {
  const env = {
    LORIKEET_DATABASE_URL: await createDatabaseOn(postgresForTests!),
    LORIKEET_BLOB_URL: newBucketUrl(),
    AWS_ACCESS_KEY_ID: process.env.AWS_ACCESS_KEY_ID ?? '',
    AWS_SECRET_ACCESS_KEY: process.env.AWS_SECRET_ACCESS_KEY ?? '',
  };
  const launch = (): ServerProcess => {
    const folder = mkdtempSync(join(tmpdir(), 'lorikeet-takeover-'));
    const server = launchServer(folder, env);
    t.after(async () => {
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    });
    return server;
  };
  const first = launch();
  const { file, adapter } = await trained((await first.url)!);
  assert.equal(await launch().url, null, 'one server at a time');
  const before = await generate((await first.url)!, adapter);
  await first.kill();
  // The database finds out that the first one's connection is gone.
  let url: string | null = null;
  while (url === null) url = await launch().url;
  assert.deepEqual(await generate(url, adapter), before);
  assert.equal(await (await fetch(`${url}/v1/files/${file}/content`)).text(), rows);
});

async function generate(url: string, adapter: string) {
  const body = { prompt: 'a', adapter_id: adapter, max_tokens: 4, temperature: 0 };
  const answer = await post(`${url}/v1/generate`, body);
  return { adapter: answer.adapter, text: answer.text };
}
