// Downloads a version from the server into a folder, which gets its name only after its digest was checked.

import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { unpackTar } from 'modern-tar/fs';
import { LorikeetError } from '../../core/errors.ts';
import { configFile, templateFile, weightsFile } from '../../server/adapters/adapter-files.ts';
import type { Adapter } from '../../server/schemas/adapters.ts';
import type { Server } from '../ask-server.ts';
import { type Invocation, UsageError } from '../command.ts';
import { countedDownload } from './counted-download.ts';
import { readAdapterFolder } from './folder.ts';

/**
 * Downloads `adapter` to `--to`, or to a folder of its name. Throws `digest_mismatch`.
 * @returns the folder
 */
export async function pullAdapter(server: Server, { flags, io }: Invocation, adapter: Adapter): Promise<string> {
  const { name, version, bytes: totalBytes, digest } = adapter;
  const folder = resolve(flags.to === undefined ? basename(name) : String(flags.to));
  const inside = await readdir(folder).catch(() => []);
  if (inside.length > 0) throw new UsageError(`${folder} is not empty. Choose another folder with --to.`);
  const { body } = await server.ask(`/v1/adapters/${encodeURIComponent(name)}/versions/${version}/content`);
  const { counted, clear } = countedDownload(io.stderr, adapter.id, totalBytes);
  const partial = await mkdtemp(`${folder}.partial-`).catch((cause) => {
    throw new UsageError(`${dirname(folder)} cannot be written to (${cause.code}).`, { cause });
  });
  try {
    await pipeline(Readable.fromWeb(body as ReadableStream), counted, unpackTar(partial, { filter: isOurs }));
    if ((await readAdapterFolder(partial)).digest !== digest) throw new LorikeetError('digest_mismatch');
    await rename(partial, folder);
  } finally {
    clear();
    await rm(partial, { recursive: true, force: true });
  }
  return folder;
}

const isOurs = ({ name, type }: { name: string; type?: string }) =>
  (type === undefined || type === 'file') && [configFile, weightsFile, templateFile].includes(name);
