// A base model that is already on this machine: a GGUF file, a safetensors file, or a folder in the hub's layout.

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import type { ModelFiles } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { chooseFiles, shardNames } from './choose-files.ts';
import { readJsonObject } from './read-sidecar.ts';

/** Files that were found, without their digest. */
export type FoundFiles = Omit<ModelFiles, 'digest' | 'source'>;

/** Finds the files. `name` overrides the model's name for clients; `wanted` chooses one of several GGUF files. */
export function localModel(path: string, name?: string, wanted: string | null = null): FoundFiles {
  const absolute = resolve(path);
  if (!existsSync(absolute)) {
    const hint = /^[\w.-]+\/[\w.-]+$/.test(path) ? ` For the hub's repository write hf:${path}.` : '';
    throw new LorikeetError('model_unavailable', { message: `There is no file or folder ${absolute}.${hint}` });
  }
  const isFolder = statSync(absolute).isDirectory();
  const folder = isFolder ? absolute : dirname(absolute);
  // In the hub's cache a link may lead to a missing file.
  const names = readdirSync(folder).filter((file) => existsSync(join(folder, file)));
  const chosen = chooseFiles(names, folder, isFolder ? wanted : basename(absolute));
  const shards =
    'index' in chosen.weights ? shardNames(readJsonObject(join(folder, chosen.weights.index))) : [chosen.weights.file];
  const missing = shards.find((shard) => !existsSync(join(folder, shard)));
  if (missing !== undefined) throw new LorikeetError('model_unavailable', { message: `${folder} lacks ${missing}.` });
  return {
    name: name ?? (isFolder ? basename(absolute) : basename(absolute, extname(absolute))),
    kind: chosen.kind,
    weights: shards.map((shard) => join(folder, shard)),
    sidecars: Object.fromEntries(chosen.sidecars.map((sidecar) => [sidecar, join(folder, sidecar)])),
  };
}
