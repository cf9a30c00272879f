// One file over HTTP: resumed where an earlier try stopped, verified, then published by a rename.
//
// The part file has one name for all processes. Its content is decided by the digest, so every writer writes the same
// bytes to the same places: two at once waste bandwidth and break nothing, and what a killed process left is used.

import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FetchReport } from './progress.ts';
import { describe, unavailable } from './unavailable.ts';
import { publish } from './write-atomically.ts';

export type DownloadRequest = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Where the file goes; its part file lies beside it. */
  readonly target: string;
  /** What progress and messages call it. */
  readonly item: string;
  readonly bytes: number;
  /** Hex: SHA-256 of the bytes, or git's SHA-1 of them as a blob. */
  readonly digest: { readonly kind: 'sha256' | 'git'; readonly hex: string };
};

export type DownloadTimes = {
  /** Without a byte for so long, the connection is given up and opened anew. */
  readonly idleMs: number;
  /** Before the first repetition; doubles with each that follows. */
  readonly backOffMs: number;
};

const defaultTimes: DownloadTimes = { idleMs: 15_000, backOffMs: 500 };
/** Tries in a row that bring no byte. */
const fruitlessTriesMax = 3;

export async function download(
  request: DownloadRequest,
  fetch: typeof globalThis.fetch,
  report: FetchReport,
  times: DownloadTimes = defaultTimes,
): Promise<void> {
  const part = `${request.target}.part`;
  const resumed = await sizeOf(part);
  await fetchAll(request, part, fetch, report, times);
  try {
    if (await verify(part, request)) return await publish(part, request.target);
  } catch (error) {
    // Another writer of the same bytes was first, and took the part with it.
    if (existsSync(request.target)) return;
    throw error;
  }
  await rm(part, { force: true });
  if (resumed === 0) unavailable(`${request.url} does not have the expected digest ${request.digest.hex}`);
  report.log(`what an earlier download left of ${request.item} was damaged; fetching it from the start`);
  await download(request, fetch, report, times);
}

async function fetchAll(
  request: DownloadRequest,
  part: string,
  fetch: typeof globalThis.fetch,
  report: FetchReport,
  times: DownloadTimes,
): Promise<void> {
  if ((await sizeOf(part)) > request.bytes) await rm(part, { force: true });
  for (let fruitless = 0; ; ) {
    const before = await sizeOf(part);
    if (before === request.bytes && before > 0) return;
    try {
      await fetchFrom(before, request, part, fetch, report, times);
      return;
    } catch (error) {
      if (error instanceof Final || isSystemError(error)) throw error;
      fruitless = (await sizeOf(part)) > before ? 0 : fruitless + 1;
      if (fruitless >= fruitlessTriesMax) unavailable(`${request.url} cannot be fetched (${describe(error)})`, error);
      await sleep(times.backOffMs * 2 ** fruitless);
    }
  }
}

/** An answer that trying again does not change. */
class Final extends Error {}

async function fetchFrom(
  start: number,
  request: DownloadRequest,
  part: string,
  fetch: typeof globalThis.fetch,
  report: FetchReport,
  times: DownloadTimes,
): Promise<void> {
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(new Error(`no data for ${times.idleMs} ms`)), times.idleMs);
  try {
    // Compressed, a range would be one of other bytes.
    const headers = { ...request.headers, 'accept-encoding': 'identity', range: `bytes=${start}-` };
    const response = await fetch(request.url, { headers, signal: idle.signal });
    const refused = response.status >= 400 && response.status < 500 && ![408, 416, 429].includes(response.status);
    if (refused) throw new Final(`${request.url} answers ${response.status}`);
    if (response.status === 416) await rm(part, { force: true });
    if (!response.ok || response.body === null) throw new Error(`it answers ${response.status}`);
    // 200 instead of 206: a server without ranges sends everything again.
    const position = response.status === 206 ? start : 0;
    const end = await append(response.body, part, position, request, report, () => timer.refresh());
    if (end < request.bytes) throw new Error(`the connection closed after ${end} of ${request.bytes} bytes`);
  } finally {
    clearTimeout(timer);
  }
}

/** Writes the body from `position` on and returns where it ended. */
async function append(
  body: AsyncIterable<Uint8Array>,
  part: string,
  position: number,
  request: DownloadRequest,
  report: FetchReport,
  onData: () => void,
): Promise<number> {
  const file = await openToWrite(part);
  let end = position;
  try {
    for await (const chunk of body) {
      if (end + chunk.length > request.bytes) throw new Final(`${request.url} sends more than ${request.bytes} bytes`);
      await file.writev([chunk], end);
      end += chunk.length;
      onData();
      report.onProgress({
        phase: 'download',
        item: request.item,
        receivedBytes: end,
        totalBytes: request.bytes,
      });
    }
    await file.sync();
    return end;
  } finally {
    await file.close();
  }
}

/** For writing anywhere in it, without emptying it: neither 'w' nor 'a' allow that. */
async function openToWrite(part: string): Promise<FileHandle> {
  await (await open(part, 'a')).close();
  return open(part, 'r+');
}

async function verify(part: string, { digest, bytes }: DownloadRequest): Promise<boolean> {
  const hash = createHash(digest.kind === 'git' ? 'sha1' : 'sha256');
  if (digest.kind === 'git') hash.update(`blob ${bytes}\0`);
  for await (const chunk of createReadStream(part, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest('hex') === digest.hex;
}

const sizeOf = (path: string) =>
  stat(path).then(
    (stats) => stats.size,
    () => 0,
  );

/** From the file system (disk full, no permission), as opposed to the network's, which come wrapped by fetch. */
const isSystemError = (error: unknown) =>
  ['ENOSPC', 'EDQUOT', 'EFBIG', 'EACCES', 'EPERM', 'EROFS', 'EIO'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  );
