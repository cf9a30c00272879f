// Backs up a data dir while its server runs. First comes a snapshot of the database, then all content that it names,
// each checked against its digest. Content that a deletion removes meanwhile leads to a newer snapshot.

import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { liveStates } from '../jobs/training-jobs.ts';
import { openDatabase } from '../storage/database.ts';
import { identityName, readIdentity } from '../storage/identity.ts';
import { snapshotDatabase } from '../storage/snapshot.ts';
import { adapterPath, type Check, copyChecked, filePath, isAdapter, isFile, sha256Of, workPath } from './content.ts';
import { databaseName, type Manifest, manifestName } from './manifest.ts';

export type BackupOptions = {
  readonly dataDir: string;
  readonly database: string;
  /**
   * Folder of the backup, made if it is missing. It is empty or has an earlier backup, whose content is not copied
   * again.
   */
  readonly target: string;
  readonly now: number;
};

/**
 * Snapshots that one backup may take while deletions go on. After the last one, missing content is listed as damaged.
 */
const momentsMax = 20;

/** Throws `backup_invalid` where the target has other files, and `database_invalid`. */
export async function backUp(options: BackupOptions): Promise<Manifest> {
  const { dataDir, database, target } = options;
  if (!existsSync(database)) {
    throw new LorikeetError('database_invalid', { message: `There is no database at ${database}.` });
  }
  await prepareTarget(target);
  const snapshot = join(target, `${databaseName}.new`);
  const progress: Progress = { whole: new Set(), missed: new Set() };
  let content: Content | null = null;
  for (let moment = 1; content === null; moment++) {
    await rm(snapshot, { force: true });
    snapshotDatabase(database, snapshot);
    content = await copyContent(options, await namedIn(snapshot), progress, moment < momentsMax);
  }
  const identity = readIdentity(dataDir);
  if (identity !== null) {
    await writeFile(join(target, identityName), `${JSON.stringify(identity)}\n`, { mode: 0o600, flush: true });
  }
  await rename(snapshot, join(target, databaseName));
  const createdAt = new Date(options.now).toISOString();
  const manifest: Manifest = {
    ...{ format: 1, createdAt, database: await sha256Of(join(target, databaseName)) },
    ...content,
  };
  await writeFile(join(target, manifestName), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600, flush: true });
  return manifest;
}

/** Makes the folder and removes its manifest until the backup is complete. */
async function prepareTarget(target: string): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o700 });
  const names = await readdir(target);
  const own = [manifestName, databaseName, `${databaseName}.new`, identityName, 'adapters', 'training'];
  const other = names.find((name) => !own.includes(name));
  if (other !== undefined) {
    const message = `${target} holds ${other}, which is no part of a backup. Name an empty folder.`;
    throw new LorikeetError('backup_invalid', { message });
  }
  await rm(join(target, manifestName), { force: true });
}

type Named = {
  readonly adapters: readonly string[];
  readonly files: readonly string[];
  readonly jobs: readonly string[];
};
type Content = Pick<Manifest, 'adapters' | 'files' | 'damaged'>;

async function namedIn(snapshot: string): Promise<Named> {
  const database = await openDatabase(snapshot);
  try {
    const adapters = await database
      .selectFrom('adapters')
      .select('digest')
      .distinct()
      .where('state', '!=', 'deleting')
      .orderBy('digest')
      .execute();
    const files = await database.selectFrom('files').select('digest').distinct().orderBy('digest').execute();
    const jobs = await database.selectFrom('jobs').select('id').where('state', 'in', liveStates).execute();
    return {
      adapters: adapters.map(({ digest }) => digest),
      files: files.map(({ digest }) => digest),
      jobs: jobs.map(({ id }) => id),
    };
  } finally {
    await database.destroy();
  }
}

/** Digests over all snapshots of one backup: copied and checked, or not found intact at some snapshot. */
type Progress = { readonly whole: Set<string>; readonly missed: Set<string> };

/**
 * Copies the named content. @returns null where content is missing for the first time and `mayAgain`: a deletion
 * removes it, and a newer snapshot will not name it. Content that a newer snapshot still names is damaged.
 */
async function copyContent(
  options: BackupOptions,
  named: Named,
  { whole, missed }: Progress,
  mayAgain: boolean,
): Promise<Content | null> {
  const { dataDir, target } = options;
  const damaged: string[] = [];
  let isNew = false;
  const copyAll = async (digests: readonly string[], pathIn: typeof adapterPath, check: Check): Promise<void> => {
    for (const digest of digests) {
      if (whole.has(digest)) continue;
      const [from, to] = [pathIn(dataDir, digest), pathIn(target, digest)];
      if ((await check(to, digest)) || (await copyChecked(from, to, digest, check))) {
        whole.add(digest);
        continue;
      }
      if (!missed.has(digest)) isNew = true;
      missed.add(digest);
      damaged.push(digest);
    }
  };
  await copyAll(named.adapters, adapterPath, isAdapter);
  await copyAll(named.files, filePath, isFile);
  if (isNew && mayAgain) return null;
  await copyWork(options, named.jobs);
  return { adapters: named.adapters, files: named.files, damaged };
}

/**
 * Copies checkpoints of live jobs. An incomplete checkpoint is recognised later, and its job continues from another
 * one.
 */
async function copyWork({ dataDir, target }: BackupOptions, jobs: readonly string[]): Promise<void> {
  await rm(workPath(target), { recursive: true, force: true });
  for (const job of jobs) {
    const from = join(workPath(dataDir), job);
    if (!existsSync(from)) continue;
    await cp(from, join(workPath(target), job), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
}
