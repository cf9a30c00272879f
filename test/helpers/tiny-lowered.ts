// The tiny models as the engine opens and lowers them.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BaseModel, ModelFiles } from '../../src/core/base-model.ts';
import { lower } from '../../src/graph/lower.ts';
import type { LinearBits, LoweredModel } from '../../src/graph/lowered.ts';
import { openModel } from '../../src/models/open.ts';
import { resolveModel } from '../../src/models/resolve.ts';
import { type TinyModel, tinyModelPath } from './tiny-models.ts';

const root = mkdtempSync(join(tmpdir(), 'lorikeet-engine-'));
process.once('exit', () => rmSync(root, { recursive: true, force: true }));

/** Makes a folder that is removed when the process ends. */
export const temporaryFolder = () => mkdtempSync(join(root, 'f'));

/** Files of a model on this machine. */
export async function filesAt(path: string): Promise<ModelFiles> {
  const cacheDir = temporaryFolder();
  const hub = { endpoint: 'http://127.0.0.1:1', token: null, cacheDir: join(cacheDir, 'hub'), offline: true };
  return resolveModel(path, { cacheDir, hub });
}

export const tinyFiles = (name: TinyModel): Promise<ModelFiles> => filesAt(tinyModelPath(name));

export async function tinyModel(name: TinyModel): Promise<BaseModel> {
  return openModel(await tinyFiles(name));
}

export async function tinyLowered(name: TinyModel, bits: LinearBits | null): Promise<LoweredModel> {
  return lower(await tinyModel(name), bits);
}
