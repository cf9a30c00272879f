// Load on servers during a disturbance: answers that must stay the same, and uploads, of which the acknowledged ones
// must stay.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { AdapterFiles } from '../../src/core/adapter.ts';
import { randomAdapter } from '../engine/adapters/random-adapters.ts';
import { generate, json, NoAnswer, type Place, post, type Tried, upload } from './fleet.ts';
import { tinyModel } from './tiny-lowered.ts';
import { waitFor, within } from './waits.ts';

const { shape } = await tinyModel('llama');

export const content = (seed: number): AdapterFiles =>
  randomAdapter(shape, { seed, modules: ['q_proj', 'v_proj'], r: 4 }).files;

/** @returns a key of a tenant of its own, which is in the database only */
export async function newKey(url: string): Promise<string> {
  return (await post(`${url}/v1/admin/keys`, { tenant: 't', name: 'k', scopes: ['generate', 'adapters'] })).key;
}

/** Asks all servers for the references repeatedly until the test ends; each answer must be the same. */
export function clients(t: TestContext, places: readonly Place[], references: readonly string[], key: string) {
  const counts = places.map(() => 0);
  let isOver = false;
  t.after(() => {
    isOver = true;
  });
  const client = async ({ url }: Place, at: number, reference: string) => {
    const first = await generate(url, reference, key);
    for (; !isOver; counts[at]!++) {
      assert.deepEqual(await generate(url, reference, key), first);
      await setTimeout(20);
    }
  };
  const all = Promise.all(places.flatMap((place, at) => references.map((reference) => client(place, at, reference))));
  all.catch(() => {});
  return {
    /** Waits until each server has given so many more answers. */
    async more(answers: number): Promise<void> {
      const targets = counts.map((count) => count + answers);
      const isSo = () => isOver || counts.every((count, at) => count >= targets[at]!);
      const what = () => `${counts} answers of ${places.length} servers, of ${targets}`;
      await Promise.race([waitFor(what, isSo), all.then(() => {})]);
    },
    async end(): Promise<void> {
      isOver = true;
      await within('the last answers', all);
    },
  };
}

export const isGiven = ({ status }: Tried) => status === 200 || status === 201;

/** A result for a server that died: it gives no answer, and the request may have been executed. */
function noAnswer(error: unknown): Tried {
  if (!(error instanceof NoAnswer)) throw error;
  return { status: 0, code: 'no answer', id: '', digest: '' };
}

/**
 * Uploads to one server after another until `end` or the test's end. Records the acknowledged uploads and the reasons
 * of refusals.
 */
export function uploads(t: TestContext, places: readonly Place[], key: string) {
  const acknowledged = new Map<string, string>();
  const refusals = new Set<string>();
  let isOver = false;
  t.after(() => {
    isOver = true;
  });
  let count = 0;
  const run = async () => {
    while (!isOver) {
      const { url } = places[count % places.length]!;
      const answer = await upload(url, `n${count % 7}`, content(1000 + count), key).catch(noAnswer);
      count++;
      if (isGiven(answer)) acknowledged.set(answer.id, answer.digest);
      else {
        refusals.add(`${answer.status} ${answer.code}`);
        // A server that is not there refuses at once.
        await setTimeout(20);
      }
    }
  };
  const running = run();
  running.catch(() => {});
  const until = async (wanted: string, isSo: () => boolean) => {
    const what = () => `${wanted}; ${acknowledged.size} of ${count} are, others ${[...refusals].join() || 'none'}`;
    await Promise.race([waitFor(what, () => isOver || isSo()), running]);
  };
  return {
    ...{ acknowledged, refusals },
    async moreAcknowledged(wanted: number): Promise<void> {
      const target = acknowledged.size + wanted;
      await until(`${target} uploads acknowledged`, () => acknowledged.size >= target);
    },
    refused: () => until('an upload refused', () => refusals.size > 0),
    async end(): Promise<void> {
      isOver = true;
      await within('the last upload', running);
    },
  };
}

/** Asserts that every server has all acknowledged uploads. */
export async function assertAllThere(places: readonly Place[], acknowledged: ReadonlyMap<string, string>, key: string) {
  for (const [id, digest] of acknowledged) {
    for (const { url } of places) {
      const [name, version] = id.split('@');
      assert.equal((await json(`${url}/v1/adapters/${name}/versions/${version}`, {}, key)).digest, digest, id);
    }
  }
  const [last] = [...acknowledged.keys()].reverse();
  const texts = await Promise.all(places.map(({ url }) => generate(url, last!, key)));
  for (const text of texts) assert.deepEqual(text, texts[0]);
}
