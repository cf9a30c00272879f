// Restores a backup into a new data dir, on this machine or another. Every content is checked before it is put in
// place.

import { existsSync } from 'node:fs';
import { cp, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { nodeFiles } from '../storage/files.ts';
import { identityName } from '../storage/identity.ts';
import { adapterPath, type Check, copyChecked, filePath, isAdapter, isFile, sha256Of, workPath } from './content.ts';
import { databaseName, type Manifest, manifestName, readManifest } from './manifest.ts';

export type RestoreOptions = {
  readonly source: string;
  readonly dataDir: string;
  /** Path of the restored database. */
  readonly database: string;
};

/** Entries that a new data dir may have: downloads and weights, which can be made again. */
const remakeable = ['models', 'weights', 'cuda', 'huggingface', 'server.lock', 'lorikeet.db.lock'];

/** Throws `backup_invalid`, and `invalid_config` where the data dir is in use. */
export async function restore({ source, dataDir, database }: RestoreOptions): Promise<Manifest> {
  const manifest = readManifest(source);
  await assertNew(dataDir, database);
  await assertWhole(source, manifest);
  const intact = ({ adapters, files }: Manifest) => ({
    adapters: adapters.filter((digest) => !manifest.damaged.includes(digest)),
    files: files.filter((digest) => !manifest.damaged.includes(digest)),
  });
  const { adapters, files } = intact(manifest);
  await copyAll(adapters, { source, dataDir }, adapterPath, isAdapter);
  await copyAll(files, { source, dataDir }, filePath, isFile);
  if (existsSync(workPath(source))) await cp(workPath(source), workPath(dataDir), { recursive: true });
  if (existsSync(join(source, identityName))) await cp(join(source, identityName), join(dataDir, identityName));
  // The database is copied last: without it a start refuses the data dir, which shows that the restore was interrupted.
  await cp(join(source, databaseName), database);
  await nodeFiles.syncFolder(dirname(database));
  return manifest;
}

async function assertNew(dataDir: string, database: string): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const other = (await readdir(dataDir)).find((name) => !remakeable.includes(name));
  const taken = other !== undefined ? join(dataDir, other) : existsSync(database) ? database : null;
  if (taken === null) return;
  const message = `${taken} is there already. Restore into a new data dir: set LORIKEET_DATA_DIR.`;
  throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_DATA_DIR' });
}

async function assertWhole(source: string, manifest: Manifest): Promise<void> {
  const path = join(source, databaseName);
  if (!existsSync(path) || (await sha256Of(path)) !== manifest.database) throw damaged(databaseName);
}

async function copyAll(
  digests: readonly string[],
  { source, dataDir }: Pick<RestoreOptions, 'source' | 'dataDir'>,
  pathIn: typeof adapterPath,
  check: Check,
): Promise<void> {
  for (const digest of digests) {
    if (!(await copyChecked(pathIn(source, digest), pathIn(dataDir, digest), digest, check))) throw damaged(digest);
  }
}

const damaged = (what: string) =>
  new LorikeetError('backup_invalid', { message: `The backup is damaged: ${what} is not what ${manifestName} says.` });
