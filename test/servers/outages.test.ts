// Servers whose database or store stops and starts, or cannot be reached, under load: loaded adapters keep answering,
// changes are refused by a code that says why, everything acknowledged is there afterwards, and no server has to be
// restarted.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { cutLink, throughPort } from '../helpers/cut-link.ts';
import { ask, fleet, generate, jsonBody, moveAlias, type Place, type Tried, tried, upload } from '../helpers/fleet.ts';
import { assertAllThere, clients, content, isGiven, newKey, uploads } from '../helpers/fleet-load.ts';
import { startPostgres } from '../helpers/postgres-server.ts';
import { startS3, versitygw } from '../helpers/s3-server.ts';
import { withoutPostgres } from '../helpers/test-database.ts';
import { withoutS3 } from '../helpers/test-store.ts';
import { waitFor } from '../helpers/waits.ts';

const needed = { skip: withoutPostgres || withoutS3 };

async function stores(t: TestContext) {
  const [postgres, s3] = await Promise.all([startPostgres(), startS3(versitygw()!)]);
  t.after(async () => {
    await postgres.remove();
    await s3.remove();
  });
  const url = await postgres.createDatabase();
  return { postgres, s3, env: { ...s3.env, LORIKEET_DATABASE_URL: url, LORIKEET_BLOB_URL: s3.url } };
}

const stays = async ({ url }: Place) => {
  const answer = await ask(`${url}/readyz`);
  assert.equal(answer.status, 200, await answer.text());
};

const isStale = async ({ url }: Place) => (await ask(`${url}/readyz`)).headers.get('x-lorikeet-stale-seconds') !== null;

/** Moves the alias to the first version; repeats that while the server is not well yet. */
async function isMoved({ url }: Place, key: string): Promise<void> {
  let last: Tried | null = null;
  const isSo = async () => {
    last = await moveAlias(url, 'warm', 1, key);
    return isGiven(last);
  };
  await waitFor(() => `an alias is moved; last ${JSON.stringify(last)}`, isSo, { everyMs: 100 });
}

/** Takes minutes on a loaded machine. */
const byHand = process.env.LORIKEET_TEST_FLEET === 'on' ? false : 'by hand: LORIKEET_TEST_FLEET=on';

test('PostgreSQL stops and starts in the middle of uploads and answers', { skip: needed.skip || byHand }, async (t) => {
  const { postgres, env } = await stores(t);
  const places = (await fleet(t, [env, env])) as [Place, Place];
  const [a, b] = places;
  const key = await newKey(a.url);
  assert.ok(isGiven(await upload(a.url, 'warm', content(1), key)));
  const answers = clients(t, places, ['warm', 'warm@1'], key);
  const writing = uploads(t, places, key);
  await writing.moreAcknowledged(4);
  for (let round = 0; round < 2; round++) {
    await postgres.stop();
    writing.refusals.clear();
    await writing.refused();
    await answers.more(5);
    for (const place of places) await stays(place);
    const refused = await moveAlias(b.url, 'warm', 1, key);
    assert.deepEqual([refused.status, refused.code], [503, 'storage_unavailable']);
    // The server's lease is over by then, and it says so.
    await waitFor('a server says that it is stale', () => isStale(a));
    await answers.more(5);
    await postgres.start();
    await writing.moreAcknowledged(4);
    assert.ok(
      [...writing.refusals].every((one) => one.endsWith(' storage_unavailable')),
      [...writing.refusals].join(),
    );
  }
  await writing.end();
  await isMoved(b, key);
  assert.equal((await generate(a.url, 'warm:prod', key)).adapter.version, 1);
  await answers.end();
  await assertAllThere(places, writing.acknowledged, key);
});

test('a server from whose database no byte comes goes on to answer, and is right afterwards', needed, async (t) => {
  const { env } = await stores(t);
  const url = env.LORIKEET_DATABASE_URL;
  const link = await cutLink(t, Number(new URL(url).port));
  const cutOff = { ...env, LORIKEET_DATABASE_URL: throughPort(url, link.port) };
  const [a, b] = (await fleet(t, [env, cutOff])) as [Place, Place];
  const key = await newKey(a.url);
  for (const seed of [1, 2]) assert.ok(isGiven(await upload(a.url, 'warm', content(seed), key)));
  assert.ok(isGiven(await moveAlias(b.url, 'warm', 1, key)));
  const [one, two] = [await generate(a.url, 'warm@1', key), await generate(a.url, 'warm@2', key)];
  assert.notDeepEqual(one.text, two.text);
  assert.equal((await generate(b.url, 'warm:prod', key)).text, one.text);
  const answers = clients(t, [b], ['warm:prod', 'warm@1'], key);
  await answers.more(2);
  link.cut = true;
  // The move is acknowledged when the other server's lease is over.
  const moved = moveAlias(a.url, 'warm', 2, key);
  await answers.more(10);
  assert.ok(isGiven(await moved));
  assert.equal((await generate(a.url, 'warm:prod', key)).text, two.text);
  await stays(b);
  await answers.end();
  link.cut = false;
  // Queries on dead connections are given up after a time and repeated.
  await waitFor('a server is as new as the others', async () => !(await isStale(b)));
  assert.equal((await generate(b.url, 'warm:prod', key)).text, two.text);
  await isMoved(b, key);
  assert.equal((await generate(a.url, 'warm:prod', key)).text, one.text);
});

test('an S3 that stands still, and one that is killed in the middle of uploads', {
  skip: needed.skip || byHand,
}, async (t) => {
  const { s3, env } = await stores(t);
  const [, query] = s3.url.split('?');
  const link = await cutLink(t, Number(new URL(new URLSearchParams(query).get('endpoint')!).port));
  const through = `s3://bucket?endpoint=http://127.0.0.1:${link.port}&region=us-east-1`;
  const places = (await fleet(t, [env, { ...env, LORIKEET_BLOB_URL: through }])) as [Place, Place];
  const [a, b] = places;
  const key = await newKey(a.url);
  for (const [name, seed] of [['warm', 1] as const, ['cold', 2] as const, ['colder', 3] as const]) {
    assert.ok(isGiven(await upload(a.url, name, content(seed), key)));
  }
  const answers = clients(t, places, ['warm'], key);
  await answers.more(1);
  // While nothing passes, only requests for contents that are not here wait.
  link.cut = true;
  const cold = generate(b.url, 'cold', key);
  cold.catch(() => {});
  await answers.more(10);
  link.cut = false;
  assert.deepEqual(await cold, await generate(a.url, 'cold', key));
  // After the kill, requests for contents that are not here are refused by a code, and so are uploads.
  const writing = uploads(t, places, key);
  await writing.moreAcknowledged(3);
  await s3.stop();
  writing.refusals.clear();
  await writing.refused();
  const body = { prompt: 'a', adapter_id: 'colder', max_tokens: 1 };
  const refused = await tried(ask(`${b.url}/v1/generate`, jsonBody('POST', body), key));
  assert.deepEqual([refused.status, refused.code], [503, 'storage_unavailable']);
  await answers.more(5);
  for (const place of places) await stays(place);
  await s3.start();
  await writing.moreAcknowledged(3);
  await writing.end();
  assert.ok(
    [...writing.refusals].every((one) => one.endsWith(' storage_unavailable')),
    [...writing.refusals].join(),
  );
  await answers.end();
  assert.deepEqual(await generate(b.url, 'colder', key), await generate(a.url, 'colder', key));
  await assertAllThere(places, writing.acknowledged, key);
});
