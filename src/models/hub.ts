// Models from the Hugging Face hub, in the same cache that its Python library uses:
//
//   models--org--repo/blobs/<etag>              the bytes; the etag is their digest
//   models--org--repo/snapshots/<commit>/<file> links to blobs
//   models--org--repo/refs/<branch>             the commit that a branch was last seen at

import { existsSync } from 'node:fs';
import { link as hardLink, mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { chooseFiles, shardNames } from './choose-files.ts';
import { download } from './download.ts';
import { type HubAccess, type HubFile, type HubModel, type HubOptions, hubCommit, hubFiles } from './hub-api.ts';
import { type FoundFiles, localModel } from './local-model.ts';
import { withLockFile } from './lock-file.ts';
import { readJsonObject } from './read-sidecar.ts';
import { unavailable } from './unavailable.ts';
import { writeAtomically } from './write-atomically.ts';

export type Fetched = { readonly files: FoundFiles; readonly source: string };

const isCommit = (revision: string) => /^[0-9a-f]{40}$/.test(revision);

const repoFolder = (model: HubModel, options: HubOptions) =>
  join(options.cacheDir, `models--${model.repo.replace('/', '--')}`);

/** Finds a pinned commit, or the last known commit of a branch, in the cache; null where it is not complete there. */
export async function cachedHubModel(model: HubModel, options: HubOptions): Promise<Fetched | null> {
  const folder = repoFolder(model, options);
  const commit = isCommit(model.revision) ? model.revision : await cachedCommit(folder, model.revision);
  return commit === null ? null : completeSnapshot(model, join(folder, 'snapshots', commit));
}

export async function fetchHubModel(model: HubModel, access: HubAccess): Promise<Fetched> {
  const { options, report } = access;
  const folder = repoFolder(model, options);
  const commit = isCommit(model.revision) ? model.revision : await hubCommit(model, access);
  const snapshot = join(folder, 'snapshots', commit);
  const complete = completeSnapshot(model, snapshot);
  if (complete === null) {
    await mkdir(join(folder, 'blobs'), { recursive: true });
    const onWait = () => report.log(`another process fetches ${model.repo}; waiting for it`);
    await withLockFile(join(folder, `${commit}.lock`), onWait, () => fetchSnapshot(model, commit, folder, access));
  }
  if (!isCommit(model.revision)) {
    const ref = join(folder, 'refs', model.revision);
    await mkdir(dirname(ref), { recursive: true });
    await writeAtomically(ref, commit);
  }
  return complete ?? { files: snapshotModel(model, snapshot), source: `hub:${model.repo}@${commit}` };
}

/** Fetches the files at the top of a repository that `wants` accepts. @returns the folder of the snapshot with them */
export async function fetchHubFolder(
  model: HubModel,
  wants: (name: string) => boolean,
  access: HubAccess,
): Promise<string> {
  const { options } = access;
  const folder = repoFolder(model, options);
  const pinned = isCommit(model.revision) ? model.revision : null;
  if (options.offline) {
    const cached = pinned ?? (await cachedCommit(folder, model.revision));
    return cached === null ? unavailable(`${model.repo} is not in the cache`) : join(folder, 'snapshots', cached);
  }
  const commit = pinned ?? (await hubCommit(model, access));
  const files = (await hubFiles(model.repo, commit, access)).filter(({ path }) => wants(path));
  if (files.length === 0) unavailable(`hf:${model.repo} has none of the files that are looked for`);
  await mkdir(join(folder, 'blobs'), { recursive: true });
  for (const file of files) await fetchFile(model.repo, commit, file, folder, access);
  return join(folder, 'snapshots', commit);
}

async function fetchSnapshot(model: HubModel, commit: string, folder: string, access: HubAccess): Promise<void> {
  const files = new Map((await hubFiles(model.repo, commit, access)).map((file) => [file.path, file]));
  const chosen = chooseFiles([...files.keys()], `hf:${model.repo}`, model.file);
  const get = async (name: string) => {
    const file = files.get(name) ?? unavailable(`hf:${model.repo} lacks ${name}`);
    if (name === model.file && model.sha256 !== undefined && file.digest.hex !== model.sha256) {
      unavailable(`${name} of hf:${model.repo} has the digest ${file.digest.hex}, expected ${model.sha256}`);
    }
    await fetchFile(model.repo, commit, file, folder, access);
  };
  for (const name of chosen.sidecars) await get(name);
  const snapshot = join(folder, 'snapshots', commit);
  const weights =
    'index' in chosen.weights
      ? shardNames(readJsonObject(join(snapshot, chosen.weights.index)))
      : [chosen.weights.file];
  for (const name of weights) await get(name);
}

/** Fetches the blob first and then makes the link to it, so that a link always leads to a complete file. */
async function fetchFile(repo: string, commit: string, file: HubFile, folder: string, access: HubAccess) {
  const { options, fetch, report } = access;
  const link = join(folder, 'snapshots', commit, file.path);
  const target = join(folder, 'blobs', file.digest.hex);
  if (!existsSync(target)) {
    const url = `${options.endpoint}/${repo}/resolve/${commit}/${encodeURIComponent(file.path)}`;
    const headers: Record<string, string> = options.token === null ? {} : { authorization: `Bearer ${options.token}` };
    await download({ ...file, url, headers, target, item: file.path }, fetch, report);
  }
  if (existsSync(link)) return;
  await mkdir(dirname(link), { recursive: true });
  await symlink(relative(dirname(link), target), link).catch(async (error: NodeJS.ErrnoException) => {
    // On Windows few users may make symbolic links; a hard link serves as well.
    if (error.code === 'EPERM') await hardLink(target, link);
    // With EEXIST another process has made the link in the meantime.
    else if (error.code !== 'EEXIST') throw error;
  });
}

/**
 * Opens a snapshot in the cache; null where it is not complete. Python programs may have fetched weights without the
 * tokeniser.
 */
function completeSnapshot(model: HubModel, snapshot: string): Fetched | null {
  if (!existsSync(snapshot)) return null;
  try {
    const files = snapshotModel(model, snapshot);
    const complete = files.kind === 'gguf' || 'tokenizer.json' in files.sidecars;
    return complete ? { files, source: 'cache' } : null;
  } catch {
    return null;
  }
}

const snapshotModel = (model: HubModel, snapshot: string) =>
  localModel(snapshot, model.repo.split('/')[1]!, model.file);

const cachedCommit = (folder: string, revision: string) =>
  readFile(join(folder, 'refs', revision), 'utf8').then(
    (text) => (isCommit(text.trim()) ? text.trim() : null),
    () => null,
  );
