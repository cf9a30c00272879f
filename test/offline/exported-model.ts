// An export written to disk and opened again as any model is.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { unpackTar } from 'modern-tar/fs';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { resolveModel } from '../../src/models/resolve.ts';
import type { Exported } from '../../src/offline/exported.ts';
import type { ExportFormat } from '../../src/protocol/offline-messages.ts';
import { temporaryFolder } from '../helpers/tiny-lowered.ts';

export async function bytesOf(exported: Exported): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of exported.chunks()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function openExport(format: ExportFormat, bytes: Uint8Array): Promise<ModelFiles> {
  const folder = join(temporaryFolder(), 'model');
  mkdirSync(folder);
  const path = format === 'gguf' ? join(folder, 'merged.gguf') : folder;
  if (format === 'gguf') writeFileSync(path, bytes);
  else await pipeline(Readable.from([bytes], { objectMode: false }), unpackTar(folder));
  const hub = { endpoint: 'http://127.0.0.1:1', token: null, cacheDir: folder, offline: true };
  return resolveModel(path, { cacheDir: temporaryFolder(), hub });
}
