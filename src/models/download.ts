// Downloads one file over HTTP: resumed where an earlier try stopped, verified, then published by a rename.
//
// All processes use the same name for the part file. Its content is fixed by the digest, so all writers write the same
// bytes to the same places. Two at once waste bandwidth but break nothing, and what a killed process left is reused.

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
  /** Path of the finished file. The part file lies beside it. */
  readonly target: string;
  /** Name of the download in progress reports and messages. */
  readonly item: string;
  readonly bytes: number;
  /** Digest in hex: SHA-256 of the bytes, or git's SHA-1 of them as a blob. */
  readonly digest: { readonly kind: 'sha256' | 'git'; readonly hex: string };
};

export type DownloadTimes = {
  /** Time without a byte after which the connection is closed and opened again. */
  readonly idleMs: number;
  /** Pause before the first retry; doubled with each further one. */
  readonly backOffMs: number;
};

const defaultTimes: DownloadTimes = { idleMs: 15_000, backOffMs: 500 };
/** Tries in a row without a byte after which the download fails. */
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
    // Another writer of the same bytes was first, and renamed the part file.
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

/** An error that a retry does not change. */
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
    // A range of a compressed body would be a range of other bytes.
    const headers = { ...request.headers, 'accept-encoding': 'identity', range: `bytes=${start}-` };
    const response = await fetch(request.url, { headers, signal: idle.signal });
    const refused = response.status >= 400 && response.status < 500 && ![408, 416, 429].includes(response.status);
    if (refused) throw new Final(`${request.url} answers ${response.status}`);
    if (response.status === 416) await rm(part, { force: true });
    if (!response.ok || response.body === null) throw new Error(`it answers ${response.status}`);
    // Status 200 instead of 206: a server without ranges sends everything again.
    const position = response.status === 206 ? start : 0;
    const end = await append(response.body, part, position, request, report, () => timer.refresh());
    if (end < request.bytes) throw new Error(`the connection closed after ${end} of ${request.bytes} bytes`);
  } finally {
    clearTimeout(timer);
  }
}

/** Writes the body from `position` on, and returns where it ended. */
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

/** Opens the file for writing anywhere without truncating it: neither 'w' nor 'a' allow that. */
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

/** Recognises errors of the file system (disk full, no permission). Network errors come wrapped by fetch. */
const isSystemError = (error: unknown) =>
  ['ENOSPC', 'EDQUOT', 'EFBIG', 'EACCES', 'EPERM', 'EROFS', 'EIO'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  );
