// A server that is stopped for three of its leases in the middle of an upload, a move of an alias, a deletion and a
// training. The others wait for it no longer than its lease and take its job, and its answers are right when it goes
// on.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { type TestContext, test } from 'node:test';
import {
  ask,
  fleet,
  generate,
  json,
  jsonBody,
  moveAlias,
  type Place,
  type Tried,
  tried,
  upload,
} from '../helpers/fleet.ts';
import { assertEachStepOnce, hasCheckpoint, reaches, train } from '../helpers/fleet-jobs.ts';
import { assertAllThere, clients, content, isGiven, newKey } from '../helpers/fleet-load.ts';
import { createDatabaseOn } from '../helpers/postgres-server.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';
import { waitFor } from '../helpers/waits.ts';
import { signal } from '../simulation/running-servers.ts';

const skip = withoutPostgres || withoutS3;
/** On a machine with other work, training takes long. */
const byHand = process.env.LORIKEET_TEST_FLEET === 'on' ? false : 'by hand: LORIKEET_TEST_FLEET=on';
const leaseSeconds = 3;

/** Sends half of an upload; the returned function sends the rest and resolves with the answer. */
async function halfUpload(url: string, name: string, key: string): Promise<() => Promise<Tried>> {
  const { config, weights } = content(70);
  const form = new FormData();
  form.set('name', name);
  form.set('adapter_config.json', new Blob([readFileSync(config)]), 'adapter_config.json');
  form.set('adapter_model.safetensors', new Blob([readFileSync(weights)]), 'adapter_model.safetensors');
  const whole = new Response(form);
  const body = Buffer.from(await whole.arrayBuffer());
  const headers = {
    authorization: `Bearer ${key}`,
    'content-type': whole.headers.get('content-type')!,
    'content-length': body.length,
  };
  const asked = request(`${url}/v1/adapters`, { method: 'POST', headers });
  const answered = new Promise<Response>((resolve, reject) => {
    asked.on('error', reject).on('response', async (answer) => {
      let text = '';
      for await (const part of answer.setEncoding('utf8')) text += part;
      resolve(new Response(text, { status: answer.statusCode! }));
    });
  });
  answered.catch(() => {});
  const half = body.length >> 1;
  await new Promise<void>((resolve, reject) => {
    asked.write(body.subarray(0, half), (error) => (error ? reject(error) : resolve()));
  });
  return () => {
    asked.end(body.subarray(half));
    return tried(answered);
  };
}

async function isGone({ url }: Place, reference: string, key: string): Promise<boolean> {
  const body = jsonBody('POST', { prompt: 'a', adapter_id: reference, max_tokens: 1 });
  const { status, code } = await tried(ask(`${url}/v1/generate`, body, key));
  assert.ok(status === 200 || ['adapter_not_found', 'adapter_deleting'].includes(code), `${status} ${code}`);
  return code === 'adapter_not_found';
}

const steps = 40;

/** Makes a job and waits for its first checkpoint. @returns the job, and the index of its server */
async function training(places: readonly Place[]): Promise<{ id: string; at: number }> {
  const { url } = places[0]!;
  const id = await train(url, 'trained', steps);
  await hasCheckpoint(url, id);
  const at = places.findIndex(({ server }) => server.pidOf('trainer') !== null);
  assert.notEqual(at, -1);
  return { id, at };
}

async function leaseIsOver({ url }: Place): Promise<void> {
  const isOver = async () => {
    const { data } = await json(`${url}/v1/admin/replicas`);
    // biome-ignore lint/suspicious/noExplicitAny: rows of a list
    const found = data.find((replica: any) => !replica.is_this);
    return found === undefined || found.lease_seconds < -2 * leaseSeconds;
  };
  await waitFor('three leases are over', isOver, { everyMs: 50 });
}

async function standsStill(t: TestContext, { trains }: { readonly trains: boolean }): Promise<void> {
  const env = { LORIKEET_DATABASE_URL: await createDatabaseOn(postgresForTests!), LORIKEET_BLOB_URL: newBucketUrl() };
  const places = (await fleet(t, [env, env])) as [Place, Place];
  const key = await newKey(places[0].url);
  const acknowledged = new Map<string, string>();
  const keep = (answer: Tried) => {
    assert.ok(isGiven(answer), JSON.stringify(answer));
    acknowledged.set(answer.id, answer.digest);
  };
  for (const seed of [1, 2]) keep(await upload(places[0].url, 'x', content(seed), key));
  assert.ok(isGiven(await upload(places[1].url, 'going', content(3), key)));
  assert.ok(isGiven(await moveAlias(places[0].url, 'x', 1, key)));
  for (const { url } of places) await generate(url, 'going', key);

  const job = trains ? await training(places) : null;
  const at = job?.at ?? 0;
  const [hit, other] = [places[at]!, places[1 - at]!];
  const answers = clients(t, [other], ['x@1', 'x@2'], key);
  await answers.more(1);

  const endUpload = await halfUpload(hit.url, 'half', key);
  const targets = { targets: [{ version: 2, weight: 1 }] };
  const moved = tried(ask(`${hit.url}/v1/adapters/x/aliases/beta`, jsonBody('PUT', targets), key));
  const deleted = tried(ask(`${hit.url}/v1/adapters/going`, { method: 'DELETE' }, key).then(nothingSaid));
  for (const asked of [moved, deleted]) asked.catch(() => {});
  assert.ok(signal(hit.server.pidOf('server'), 'SIGSTOP'));
  try {
    assert.ok(isGiven(await moveAlias(other.url, 'x', 2, key)));
    assert.equal((await generate(other.url, 'x:prod', key)).adapter.version, 2);
    keep(await upload(other.url, 'x', content(4), key));
    await leaseIsOver(other);
    if (job !== null) await reaches(other.url, job.id, 'succeeded');
    await answers.more(3);
  } finally {
    signal(hit.server.pidOf('server'), 'SIGCONT');
  }
  // Its first answer about a name reflects the others' changes.
  assert.equal((await generate(hit.url, 'x:prod', key)).adapter.version, 2);
  assert.equal((await generate(hit.url, 'x', key)).adapter.version, 3);
  await answers.end();

  const ended = await endUpload();
  if (isGiven(ended)) keep(ended);
  else assert.notEqual(ended.code, '', JSON.stringify(ended));
  const { status } = await moved;
  const beta = await Promise.all(places.map(({ url }) => generate(url, status === 200 ? 'x:beta' : 'x@2', key)));
  assert.deepEqual(beta[0], beta[1]);
  assert.equal(beta[0]!.adapter.version, 2);
  // Whatever happened to the deletion, a repetition completes it, and then no server has the version.
  await deleted.catch(() => {});
  await ask(`${other.url}/v1/adapters/going`, { method: 'DELETE' }, key).then((answer) => answer.text());
  for (const place of places) await waitFor(`going@1 is gone from ${place.url}`, () => isGone(place, 'going@1', key));

  await assertAllThere(places, acknowledged, key);
  if (job === null) return;
  await assertEachStepOnce(other.url, job.id, steps);
  assert.equal((await json(`${hit.url}/v1/adapters/trained/versions`)).data.length, 1);
  assert.deepEqual(await generate(hit.url, 'trained'), await generate(other.url, 'trained'));
}

test('a server stands still for three leases in the middle of an upload, a move and a deletion', { skip }, (t) =>
  standsStill(t, { trains: false }),
);

test('a server stands still for three leases while it trains, too', { skip: skip || byHand }, (t) =>
  standsStill(t, { trains: true }),
);

/** An answer without a body, changed into JSON for `tried`. */
async function nothingSaid(answer: Response): Promise<Response> {
  const text = await answer.text();
  return new Response(text === '' ? '{}' : text, { status: answer.status });
}
