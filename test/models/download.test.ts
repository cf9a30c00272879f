import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DownloadRequest, download } from '../../src/models/download.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { commit, type FakeHub, fakeHub, repo } from './fake-hub.ts';

const content = Buffer.from(Uint8Array.from({ length: 100_000 }, (_, at) => at * 7));
const times = { idleMs: 300, backOffMs: 1 };
const lines: string[] = [];
const report = { onProgress: () => {}, log: (line: string) => void lines.push(line) };

function requestOf(hub: FakeHub, folder: string, change: Partial<DownloadRequest> = {}): DownloadRequest {
  return {
    url: `${hub.endpoint}/${repo}/resolve/${commit}/weights`,
    headers: {},
    target: join(folder, 'weights'),
    item: 'weights',
    bytes: content.length,
    digest: { kind: 'sha256', hex: createHash('sha256').update(content).digest('hex') },
    ...change,
  };
}

test('fetches, verifies, reports bytes and leaves no part', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  const seen: number[] = [];
  const onProgress = ({ receivedBytes }: { receivedBytes: number }) => void seen.push(receivedBytes);
  await download(requestOf(hub, folder), fetch, { ...report, onProgress }, times);
  assert.deepEqual(readFileSync(join(folder, 'weights')), content);
  assert.deepEqual(readdirSync(folder), ['weights']);
  assert.equal(seen.at(-1), content.length);
  assert.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  );
});

test('goes on where the connection broke, as often as it must', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  hub.faults.cutAfter = [10_000, 0, 0, 20_000, 30_000];
  await download(requestOf(hub, folder), fetch, report, times);
  assert.deepEqual(readFileSync(join(folder, 'weights')), content);
  assert.deepEqual(
    hub.requests,
    [0, 10_000, 10_000, 10_000, 30_000, 60_000].map((start) => `weights bytes=${start}-`),
  );
});

test('goes on with what an earlier process left', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  writeFileSync(join(folder, 'weights.part'), content.subarray(0, 40_000));
  await download(requestOf(hub, folder), fetch, report, times);
  assert.deepEqual(hub.requests, ['weights bytes=40000-']);
  assert.deepEqual(readFileSync(join(folder, 'weights')), content);
});

test('a whole part needs no request', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  writeFileSync(join(folder, 'weights.part'), content);
  await download(requestOf(hub, folder), fetch, report, times);
  assert.deepEqual(hub.requests, []);
});

for (const [name, part] of [
  ['damaged', Buffer.alloc(40_000, 9)],
  ['too long', Buffer.alloc(content.length + 1)],
] as const) {
  test(`what an earlier process left is fetched anew where it is ${name}`, async (context) => {
    const folder = temporaryFolder(context);
    const hub = await fakeHub(context, { weights: content });
    writeFileSync(join(folder, 'weights.part'), part);
    await download(requestOf(hub, folder), fetch, report, times);
    assert.equal(hub.requests.at(-1), 'weights bytes=0-');
    assert.deepEqual(readFileSync(join(folder, 'weights')), content);
  });
}

test('a server without ranges, one that stalls, and a busy one are lived with', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  hub.faults = { cutAfter: [30_000], ignoreRanges: true };
  await download(requestOf(hub, folder), fetch, report, times);
  assert.deepEqual(readFileSync(join(folder, 'weights')), content);

  let calls = 0;
  const stallsOnce: typeof fetch = (input, init) => {
    if (++calls > 1) return fetch(input, init);
    return new Promise((_, reject) => init?.signal?.addEventListener('abort', () => reject(init.signal?.reason)));
  };
  await download(requestOf(hub, folder, { target: join(folder, 'again') }), stallsOnce, report, times);
  assert.deepEqual(readFileSync(join(folder, 'again')), content);
});

test('wrong bytes are never published', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  hub.faults = { cutAfter: [], lie: true };
  await assert.rejects(download(requestOf(hub, folder), fetch, report, times), /does not have the expected digest/);
  assert.deepEqual(readdirSync(folder), []);
});

test('a body longer than announced is cut off', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  await assert.rejects(download(requestOf(hub, folder, { bytes: 50 }), fetch, report, times), /more than 50 bytes/);
  assert.equal(existsSync(join(folder, 'weights')), false);
});

test('a refusal is final, a broken server is given up after a few tries', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  hub.faults.status = 403;
  await assert.rejects(download(requestOf(hub, folder), fetch, report, times), /answers 403/);
  assert.equal(hub.authorization.length, 1);
  hub.faults.status = 503;
  await assert.rejects(download(requestOf(hub, folder), fetch, report, times), /cannot be fetched \(it answers 503\)/);
  assert.equal(hub.authorization.length, 4);
});

test('two at once into one part break nothing', async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: content });
  hub.faults.drip = 10_000;
  const both = [1, 2].map(() => download(requestOf(hub, folder), fetch, report, times));
  await Promise.all(both);
  assert.deepEqual(readFileSync(join(folder, 'weights')), content);
});

test("git's digest is known too, and an empty file is a file", async (context) => {
  const folder = temporaryFolder(context);
  const hub = await fakeHub(context, { weights: Buffer.alloc(0) });
  const hex = 'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391';
  await download(requestOf(hub, folder, { bytes: 0, digest: { kind: 'git', hex } }), fetch, report, times);
  assert.equal(readFileSync(join(folder, 'weights')).length, 0);
});
