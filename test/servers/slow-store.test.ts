// A store that is slow or answers with errors: contents on disk are served as usual. Other contents wait or are refused
// by a code, and are right as soon as the store works.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { openS3 } from '../../src/storage/s3/open-s3.ts';
import { cutLink } from '../helpers/cut-link.ts';
import { freePort } from '../helpers/postgres-server.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { type TestRegistry, testRegistry, upload } from '../helpers/test-registry.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';

const skip = withoutS3;
const names = ['a', 'b', 'c', 'd'];

/** The URL of the same store through another port. */
function through(url: string, port: number): string {
  const parsed = new URL(url);
  parsed.searchParams.set('endpoint', `http://127.0.0.1:${port}`);
  return parsed.href;
}

const portOf = (url: string) => Number(new URL(new URL(url).searchParams.get('endpoint')!).port);

/**
 * Uploads all names by a server with a direct link to the store; starts a second one, through `port`, that has only the
 * first.
 */
async function servers(t: TestContext, url: string, port: number): Promise<TestRegistry> {
  const database = await newDatabase();
  const [near, far] = [await openS3(url), await openS3(through(url, port))];
  const open = (store: typeof near) =>
    testRegistry(t, { database, folder: temporaryFolder(t), shared: { store, cacheBytes: 2 ** 30 } });
  const first = await open(near);
  for (const [seed, name] of names.entries()) await upload(first, name, seed);
  await first.close();
  const second = await open(far);
  t.after(async () => {
    await second.close();
    near.close();
    far.close();
    await database.destroy();
  });
  await use(second, 'a');
  return second;
}

async function use(registry: TestRegistry, name: string): Promise<void> {
  const lease = await registry.lease('default', name);
  const bytes = readFileSync(lease.files.weights);
  lease.release();
  assert.deepEqual(bytes, Buffer.from(tinyAdapter(names.indexOf(name)).weights));
}

test('of a slow store a content comes in time, and nobody waits for it but who asks for it', { skip }, async (t) => {
  const url = newBucketUrl();
  const link = await cutLink(t, portOf(url));
  const registry = await servers(t, url, link.port);
  link.allowed = 0;
  let arrived = 0;
  // Where the whole machine pauses, so long without a byte is an error too, and is allowed here.
  const cold = Promise.allSettled(
    ['b', 'c'].map(async (name) => {
      await use(registry, name);
      arrived++;
    }),
  );
  const [portion, portions] = [16, 40];
  assert.ok(tinyAdapter(1).weights.length > portion * portions);
  for (let i = 0; i < portions; i++) {
    link.allowed = portion;
    await use(registry, 'a');
    await setTimeout(10);
  }
  assert.equal(arrived, 0);
  link.allowed = Number.POSITIVE_INFINITY;
  for (const asked of await cold) {
    if (asked.status === 'rejected') assert.equal(asked.reason.code, 'storage_unavailable', asked.reason);
  }
  for (const name of names) await use(registry, name);
});

/** A proxy before the store: for so many requests it answers with an error, or breaks the connection in the middle. */
async function troubled(t: TestContext, to: number) {
  const trouble = { kind: 500 as 500 | 503 | 'cut', left: 0, met: 0 };
  const server = createServer((asked, answer) => {
    if (trouble.left > 0) {
      trouble.left--;
      trouble.met++;
      asked.resume();
      if (trouble.kind !== 'cut') return void answer.writeHead(trouble.kind).end();
      answer.writeHead(200, { 'content-length': 1000 });
      answer.write('x', () => answer.destroy());
      return;
    }
    const { method, url, headers } = asked;
    const on = request({ port: to, host: '127.0.0.1', method, path: url, headers }, (found) => {
      answer.writeHead(found.statusCode!, found.headers);
      found.pipe(answer);
    });
    on.on('error', () => answer.destroy());
    asked.pipe(on);
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { trouble, port };
}

for (const kind of [500, 503, 'cut'] as const) {
  test(`a store that says ${kind} is asked again; when it goes on, that is an error with a code`, {
    skip,
  }, async (t) => {
    const url = newBucketUrl();
    const { trouble, port } = await troubled(t, portOf(url));
    const registry = await servers(t, url, port);
    Object.assign(trouble, { kind, left: 1 });
    if (kind === 'cut') await assert.rejects(use(registry, 'b'), { code: 'storage_unavailable' });
    await use(registry, 'b');
    assert.equal(trouble.met, 1);
    trouble.left = Number.POSITIVE_INFINITY;
    await assert.rejects(use(registry, 'c'), { code: 'storage_unavailable' });
    await assert.rejects(upload(registry, 'new', 9), { code: 'storage_unavailable' });
    await use(registry, 'a');
    trouble.left = 0;
    for (const name of names) await use(registry, name);
    await assert.rejects(registry.find('default', 'new'), { code: 'adapter_not_found' });
  });
}
