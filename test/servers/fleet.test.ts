// Servers in processes of their own over one PostgreSQL and one S3, behind a gateway: what one server has the others
// have, and clients of the gateway do not notice when one is killed.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { adminKey, ask, fleet, generate, type Place, untilReady, upload } from '../helpers/fleet.ts';
import { assertEachStepOnce, followSteps, hasCheckpoint, reaches, rows, train } from '../helpers/fleet-jobs.ts';
import { assertAllThere, content } from '../helpers/fleet-load.ts';
import { haproxy } from '../helpers/gateways.ts';
import { createDatabaseOn, freePort } from '../helpers/postgres-server.ts';
import { sized, sizedTimeoutMs } from '../helpers/sizes.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';
import { waitFor, within } from '../helpers/waits.ts';

const skip = withoutPostgres || withoutS3 || haproxy.missing;
/** Takes minutes on a loaded machine. */
const byHand = process.env.LORIKEET_TEST_FLEET === 'on' ? false : 'by hand: LORIKEET_TEST_FLEET=on';

async function newFleet(t: TestContext, count: number): Promise<Place[]> {
  const env = { LORIKEET_DATABASE_URL: await createDatabaseOn(postgresForTests!), LORIKEET_BLOB_URL: newBucketUrl() };
  return await fleet(t, Array(count).fill(env));
}

test('what one server has the other has, also when the first one is killed', {
  ...{ skip, timeout: sizedTimeoutMs },
}, async (t) => {
  const places = (await newFleet(t, 2)) as [Place, Place];
  const [a, b] = places;
  const job = await reaches(b.url, await train(a.url, 'x', 2), 'succeeded');
  const before = await generate(a.url, job.fine_tuned_model);
  assert.deepEqual(await generate(b.url, 'x'), before);
  // Names that are new to the server that is asked.
  const [uploaded, count] = [new Map<string, string>(), sized(4, 1000)];
  for (let i = 0; i < count; i++) {
    const [by, other] = [places[i % 2]!, places[1 - (i % 2)]!];
    const { id, digest } = await upload(by.url, `new${i}`, content(i));
    const there = await generate(other.url, `new${i}`);
    const { name, version, digest: itsDigest } = there.adapter;
    assert.deepEqual([`${name}@${version}`, itsDigest], [id, digest]);
    assert.deepEqual(await generate(by.url, `new${i}`), there);
    uploaded.set(id, digest);
  }
  await assertAllThere(places, uploaded, adminKey);
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
  // The third address has no server.
  const gateway = await haproxy.start(t, [one, two, `127.0.0.1:${await freePort()}`]);
  const { fine_tuned_model: calm } = await reaches(a, await train(b, 'calm', 2), 'succeeded');
  const before = await generate(a, calm);
  assert.deepEqual(await generate(b, calm), before);
  await untilReady(gateway);
  let isOver = false;
  t.after(() => {
    isOver = true;
  });
  let answered = 0;
  const client = async (reference: string) => {
    for (; !isOver; answered++) {
      assert.deepEqual(await generate(gateway, reference), before);
      await setTimeout(50);
    }
  };
  const clients = Promise.all([client(calm), client('calm')]);
  const more = async (answers: number) => {
    const target = answered + answers;
    await Promise.race([
      waitFor(
        () => `${target} answers; ${answered}`,
        () => isOver || answered >= target,
      ),
      clients,
    ]);
  };

  const steps = 60;
  const id = await train(a, 'stormy', steps);
  await hasCheckpoint(b, id);
  const at = places.findIndex(({ server }) => server.pidOf('trainer') !== null);
  assert.notEqual(at, -1);
  const [hit, other] = [places[at]!, places[1 - at]!];
  // A follower on the other server receives all events.
  const followed = followSteps(other.url, id);
  await hit.server.kill();
  await more(5);
  hit.start();
  const job = await reaches(other.url, id, 'succeeded');
  assert.equal(job.fine_tuned_model, 'stormy@1');
  const resumed = Number(/goes on from step (\d+)/.exec((await followed).join('\n'))?.[1]);
  assert.ok(resumed >= 10 && resumed < steps, `from step ${resumed}`);
  await assertEachStepOnce(other.url, id, steps);
  isOver = true;
  await within('the last answers', clients);
  t.diagnostic(`${answered} answers`);
});
