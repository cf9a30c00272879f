// Downloads the base model with an adapter merged in, as a GGUF file or a folder for transformers. The server still
// merges during the download, so the result gets its final name only when it is whole, and a broken download is
// removed.

import { createWriteStream } from 'node:fs';
import { mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { unpackTar } from 'modern-tar/fs';
import { LorikeetError } from '../../core/errors.ts';
import type { Adapter } from '../../server/schemas/adapters.ts';
import type { Server } from '../ask-server.ts';
import { type Invocation, UsageError } from '../command.ts';
import { countedDownload } from './counted-download.ts';

const formats = ['gguf', 'safetensors'] as const;

/**
 * Exports `adapter` to `--to`, or to a path of the adapter's name.
 * @returns the path of the file or the folder
 */
export async function exportAdapter(server: Server, { flags, io }: Invocation, adapter: Adapter): Promise<string> {
  const format = formats.find((one) => one === flags.format);
  if (format === undefined) throw new UsageError(`Say which: --format ${formats.join(' or ')}.`);
  const own = `${basename(adapter.name)}-merged${format === 'gguf' ? '.gguf' : ''}`;
  const path = resolve(flags.to === undefined ? own : String(flags.to));
  if (await stat(path).catch(() => null)) throw new UsageError(`${path} is there already. Choose another with --to.`);
  const partial = await mkdtemp(`${path}.partial-`).catch((cause) => {
    throw new UsageError(`${dirname(path)} cannot be written to (${cause.code}).`, { cause });
  });
  try {
    const query = new URLSearchParams({ format });
    if (flags.dtype !== undefined) query.set('dtype', String(flags.dtype));
    if (flags.unpacked === true) query.set('unpacked', 'true');
    const answer = await server.ask(`/v1/adapters/${encodeURIComponent(adapter.id)}/merged?${query}`);
    const file = join(partial, 'file');
    await download(answer, format === 'gguf' ? createWriteStream(file) : unpackTar(partial), io.stderr, adapter.id);
    await rename(format === 'gguf' ? file : partial, path);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return path;
}

async function download(
  { headers, body }: Response,
  to: NodeJS.WritableStream,
  stderr: Invocation['io']['stderr'],
  item: string,
): Promise<void> {
  const length = headers.get('content-length');
  const { counted, clear } = countedDownload(stderr, item, length === null ? null : Number(length));
  try {
    await pipeline(Readable.fromWeb(body as ReadableStream), counted, to);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new LorikeetError('offline_failed', { message: 'The download broke off; the server’s log says why.', cause });
  } finally {
    clear();
  }
}
