// Servers that are killed one after another while requests go through the gateway: every whole answer arrives, no
// answer is another's, everything acknowledged stays, and an alias means what its last acknowledged move says. By
// default each server is killed once, after the one before is back. With LORIKEET_TEST_STORM=<seconds> every five
// seconds a random server is killed, as long as another is left.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { prng } from '../../src/core/prng.ts';
import {
  ask,
  fleet,
  generate,
  json,
  jsonBody,
  moveAlias,
  NoAnswer,
  type Place,
  untilReady,
  upload,
} from '../helpers/fleet.ts';
import { assertAllThere, content, isGiven, newKey, uploads } from '../helpers/fleet-load.ts';
import { haproxy } from '../helpers/gateways.ts';
import { createDatabaseOn } from '../helpers/postgres-server.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';
import { waitFor, within } from '../helpers/waits.ts';

const skip = withoutPostgres || withoutS3 || haproxy.missing;
const seconds = Number(process.env.LORIKEET_TEST_STORM ?? 0);
const killEveryMs = 5000;
const names = ['one', 'two', 'three', 'four', 'five', 'six'];

const figures = { kills: 0, answers: 0, slowestMs: 0, streams: 0, brokenStreams: 0, moves: 0, unsureMoves: 0 };

/** @returns the text of a stream, and whether the stream was complete */
async function streamed(url: string, adapter: string, key: string): Promise<{ text: string; isWhole: boolean }> {
  const body = { prompt: 'a', adapter_id: adapter, max_tokens: 4, temperature: 0, stream: true };
  let text = '';
  try {
    const answer = await ask(`${url}/v1/generate`, jsonBody('POST', body), key);
    if (answer.status !== 200) assert.fail(`${answer.status} ${await answer.text()}`);
    for await (const part of answer.body!) text += Buffer.from(part).toString();
  } catch (error) {
    // Its server died, which ends a stream that has begun.
    if (!(error instanceof NoAnswer || error instanceof TypeError)) throw error;
  }
  const events = text.split('\n\n').filter((event) => event.startsWith('data: {'));
  const said = events.map((event) => JSON.parse(event.slice('data: '.length)).token?.text ?? '').join('');
  return { text: said, isWhole: text.includes('data: [DONE]') };
}

/** Whether the server has answered a generation since its start; only the gateway sends them. */
async function hasAnswered({ url }: Place): Promise<boolean> {
  const metrics = await ask(`${url}/metrics`).catch(() => null);
  return /^lorikeet_adapter_requests_total\{.*\} [1-9]/m.test((await metrics?.text()) ?? '');
}

test('servers are killed one after another: every whole answer arrives', {
  skip,
  timeout: 600_000 + seconds * 1000,
}, async (t) => {
  const env = { LORIKEET_DATABASE_URL: await createDatabaseOn(postgresForTests!), LORIKEET_BLOB_URL: newBucketUrl() };
  // The first server makes the schema alone: on a machine that pauses, two others may give up waiting for it.
  const places = [...(await fleet(t, [env])), ...(await fleet(t, [env, env]))] as [Place, Place, Place];
  const addresses = places.map(({ port }) => `127.0.0.1:${port}`) as [string, string, string];
  const gateway = await haproxy.start(t, addresses);
  const key = await newKey(places[0].url);
  for (const [i, name] of names.entries()) {
    for (const version of [1, 2])
      assert.ok(isGiven(await upload(places[i % 3]!.url, name, content(10 * i + version), key)));
  }
  await untilReady(gateway);
  const texts = new Map<string, string>();
  for (const name of names) {
    for (const version of [1, 2]) {
      const reference = `${name}@${version}`;
      texts.set(reference, (await generate(places[0].url, reference, key)).text);
    }
  }

  const random = prng(seconds);
  const some = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!;
  let isOver = false;
  t.after(() => {
    isOver = true;
  });
  const again = async (work: () => Promise<unknown>) => {
    while (!isOver) {
      await work();
      await setTimeout(20);
    }
  };
  const whole = () =>
    again(async () => {
      const name = some(names);
      const began = performance.now();
      // A name alone means its newest version; no other one is uploaded.
      const reference = some([name, `${name}@1`, `${name}@2`]);
      const { adapter, text } = await generate(gateway, reference, key);
      assert.equal(text, texts.get(`${name}@${adapter.version}`), reference);
      assert.equal(adapter.version, reference.endsWith('@1') ? 1 : 2);
      figures.answers++;
      figures.slowestMs = Math.max(figures.slowestMs, performance.now() - began);
    });
  const streams = () =>
    again(async () => {
      const reference = `${some(names)}@${some([1, 2])}`;
      const { text, isWhole } = await streamed(gateway, reference, key);
      if (isWhole) assert.equal(text, texts.get(reference));
      else assert.ok(texts.get(reference)!.startsWith(text));
      figures[isWhole ? 'streams' : 'brokenStreams']++;
    });
  /** Moves an alias. A move without an acknowledgement may have been made all the same. */
  const moves = (name: string) => {
    let version = 1;
    return again(async () => {
      version = 3 - version;
      const moved = await moveAlias(gateway, name, version, key).catch(() => null);
      if (moved?.status !== 200) {
        figures.unsureMoves++;
        return;
      }
      figures.moves++;
      // Asks any server, with another home than the adapter's own.
      for (let i = 0; i < 3; i++) {
        const { method, headers, body } = jsonBody('POST', { prompt: 'a', adapter_id: `${name}:prod`, max_tokens: 1 });
        const home = { method, body, headers: { ...headers, 'x-adapter': `home${Math.floor(random() * 1e6)}` } };
        const { adapter } = await json(`${gateway}/v1/generate`, home, key);
        assert.equal(adapter.version, version, 'as acknowledged');
      }
    });
  };
  // Each upload goes directly to one server, which may be dead at that moment.
  const writing = uploads(t, places, key);
  const load = Promise.all([whole(), whole(), whole(), streams(), moves('one'), moves('two')]);
  load.catch(() => {});
  const during = async (work: Promise<unknown>) => await Promise.race([work, load.then(() => {})]);
  const more = async (count: number) => {
    const target = figures.answers + count;
    await during(
      waitFor(
        () => `${target} answers; ${figures.answers}`,
        () => isOver || figures.answers >= target,
      ),
    );
  };

  /** Servers that the gateway uses: one of them must stay, whichever is killed next. */
  const there = new Set(places);
  const comesBack = async (place: Place) => {
    await waitFor(`${place.url} answers through the gateway`, async () => isOver || (await hasAnswered(place)));
    there.add(place);
  };
  const until = performance.now() + seconds * 1000;
  const coming: Promise<void>[] = [];
  const last = seconds === 0 ? places.length : Number.POSITIVE_INFINITY;
  while (figures.kills < last && (seconds === 0 || performance.now() < until)) {
    const began = performance.now();
    const hit = seconds === 0 ? places[figures.kills % places.length]! : some([...there]);
    there.delete(hit);
    await hit.server.kill();
    figures.kills++;
    await more(5);
    hit.start();
    const back = comesBack(hit);
    back.catch(() => {});
    coming.push(back);
    if (seconds === 0) await during(back);
    else {
      await during(setTimeout(Math.max(0, killEveryMs - (performance.now() - began))));
      await during(
        waitFor(
          () => `two of three are there; ${there.size}`,
          () => isOver || there.size >= 2,
        ),
      );
    }
  }
  await during(Promise.all(coming));
  const stormSeconds = (performance.now() - until) / 1000 + seconds;
  isOver = true;
  await within('the last answers', load);
  await writing.end();
  await assertAllThere(places, writing.acknowledged, key);
  t.diagnostic(
    JSON.stringify({ ...figures, stormSeconds, uploads: writing.acknowledged.size, refused: [...writing.refusals] }),
  );
});
