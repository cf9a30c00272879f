// Uploads an adapter's folder to the server. Weights use the resumable upload, so a broken connection loses only the
// bytes that were in flight; the version is made at the end, by the weights' digest.

import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import { templateDigest } from '../../registry/own-template.ts';
import type { Adapter } from '../../server/schemas/adapters.ts';
import { type Server, ServerRefusal } from '../ask-server.ts';
import type { Invocation } from '../command.ts';
import { progressBar } from '../progress-bar.ts';
import { type AdapterFolder, readAdapterFolder } from './folder.ts';
import { fetchFromHub } from './from-hub.ts';

/**
 * Consecutive failed tries before the upload gives up, and the wait before the first of them; each next wait doubles.
 */
const triesMax = 5;
const firstWaitMs = 250;

export async function pushAdapter(
  server: Server,
  invocation: Invocation,
  path: string,
): Promise<{ adapter: Adapter; created: boolean }> {
  const { flags } = invocation;
  const fromHub = path.startsWith('hf:');
  const called = fromHub ? path.replace(/^hf:[^/]*\/?/, '').replace(/[@:].*$/, '') : basename(resolve(path));
  const name = flags.name === undefined ? called.replace(/\.gguf$/, '') : String(flags.name);
  const folder = await readAdapterFolder(fromHub ? await fetchFromHub(invocation, path) : path);
  const template = folder.template === null ? null : templateDigest(folder.template);
  const same = (await versionsOf(server, name)).filter(
    ({ digest, state }) => digest === folder.digest && state === 'ready',
  );
  const there = same.find(({ chat_template: own }) => own === template);
  if (there !== undefined) return { adapter: there, created: false };
  // The server has the weights and decides whether a template that no version has yet would be kept.
  const known = same.length > 0 ? await orNothing(publish(server, name, folder)) : null;
  const answer = known ?? (await uploadAndPublish(server, invocation, { name, folder }));
  return { adapter: (await answer.json()) as Adapter, created: answer.status === 201 };
}

type Named = { readonly name: string; readonly folder: AdapterFolder };

async function uploadAndPublish(server: Server, { io }: Invocation, { name, folder }: Named): Promise<Response> {
  const bar = progressBar(io.stderr, systemClock);
  try {
    await upload(server, folder, (receivedBytes) =>
      bar.show({ phase: 'upload', item: name, receivedBytes, totalBytes: folder.weightsBytes }),
    );
  } finally {
    bar.clear();
  }
  return await publish(server, name, folder);
}

async function publish(server: Server, name: string, folder: AdapterFolder): Promise<Response> {
  // The file's text is sent and not its parsed object, since the digest covers its bytes.
  const config = folder.config === null ? {} : { config: await readFile(folder.config, 'utf8') };
  const { companions } = folder;
  const own = folder.template === null ? {} : { chat_template: folder.template };
  const weights = `sha256:${folder.weightsSha256}`;
  return await server.post('/v1/adapters', { name, ...config, weights, companions, ...own });
}

async function versionsOf(server: Server, name: string): Promise<Adapter[]> {
  const address = `/v1/adapters/${encodeURIComponent(name)}/versions`;
  return await orNothing(server.get<{ data: Adapter[] }>(address)).then((found) => found?.data ?? []);
}

async function upload(server: Server, folder: AdapterFolder, onSent: (bytes: number) => void): Promise<void> {
  const address = `/v1/adapters/uploads/sha256:${folder.weightsSha256}`;
  let reached = -1;
  for (let tries = 0; ; tries++) {
    try {
      const there = await orNothing(server.ask(address, { method: 'HEAD' }));
      if (there?.headers.get('upload-complete') === '?1') return;
      const offset = Number(there?.headers.get('upload-offset') ?? 0);
      if (offset > reached) tries = 0;
      reached = offset;
      await append(server, address, { folder, offset, onSent });
      return;
    } catch (error) {
      if (!isPassing(error) || tries >= triesMax) throw error;
      await setTimeout(firstWaitMs * 2 ** tries);
    }
  }
}

type Rest = { readonly folder: AdapterFolder; readonly offset: number; onSent(bytes: number): void };

async function append(server: Server, address: string, { folder, offset, onSent }: Rest): Promise<void> {
  const file = createReadStream(folder.weights, { start: offset });
  const counted = async function* () {
    let sent = offset;
    for await (const chunk of file) {
      yield chunk;
      sent += (chunk as Uint8Array).length;
      onSent(sent);
    }
  };
  const request: RequestInit & { duplex: 'half' } = {
    method: 'PATCH',
    duplex: 'half',
    headers: {
      'content-type': 'application/octet-stream',
      'upload-offset': String(offset),
      'upload-length': String(folder.weightsBytes),
    },
    body: Readable.toWeb(Readable.from(counted(), { objectMode: false })) as ReadableStream,
  };
  try {
    await server.ask(address, request);
  } finally {
    file.destroy();
  }
}

/** Whether another try may help: nobody answered, the server is busy, or an earlier connection has not ended yet. */
const isPassing = (error: unknown) =>
  error instanceof LorikeetError
    ? error.code === 'engine_unavailable'
    : error instanceof ServerRefusal && [408, 409, 429, 503].includes(error.status);

const orNothing = <T>(answer: Promise<T>): Promise<T | null> =>
  answer.catch((error) => {
    if (error instanceof ServerRefusal && error.status === 404) return null;
    throw error;
  });
