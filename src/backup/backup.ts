// A backup of a data dir while its server runs. The database comes first, as of one moment; then all content that it
// names, each held against its digest. What a deletion took away meanwhile makes it begin again with a newer moment.

import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { openDatabase } from '../storage/database.ts';
import { identityName, readIdentity } from '../storage/identity.ts';
import { snapshotDatabase } from '../storage/snapshot.ts';
import { adapterPath, type Check, copyChecked, filePath, isAdapter, isFile, sha256Of, workPath } from './content.ts';
import { databaseName, type Manifest, manifestName } from './manifest.ts';

export type BackupOptions = {
  readonly dataDir: string;
  readonly database: string;
  /** Made if it is missing; empty, or an earlier backup, whose content is not copied again. */
  readonly target: string;
  readonly now: number;
};

/** Deletions that a backup may meet before it gives up. */
const momentsMax = 5;

/** Throws `backup_invalid` where the target holds something else, and `database_invalid`. */
export async function backUp(options: BackupOptions): Promise<Manifest> {
  const { dataDir, database, target } = options;
  if (!existsSync(database)) {
    throw new LorikeetError('database_invalid', { message: `There is no database at ${database}.` });
  }
  await prepareTarget(target);
  const snapshot = join(target, `${databaseName}.new`);
  let content: Content | null = null;
  for (let moment = 1; content === null; moment++) {
    await rm(snapshot, { force: true });
    snapshotDatabase(database, snapshot);
    content = await copyContent(options, await namedIn(snapshot), moment < momentsMax);
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

/** Without a manifest until it is whole again. */
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
    const adapters = await database.selectFrom('adapters').select('digest').distinct().orderBy('digest').execute();
    const files = await database.selectFrom('files').select('digest').distinct().orderBy('digest').execute();
    const live = ['validating_files', 'queued', 'running', 'paused'];
    const jobs = await database.selectFrom('jobs').select('id').where('state', 'in', live).execute();
    return {
      adapters: adapters.map(({ digest }) => digest),
      files: files.map(({ digest }) => digest),
      jobs: jobs.map(({ id }) => id),
    };
  } finally {
    await database.destroy();
  }
}

/** null where something went away meanwhile and there is time for a newer moment. */
async function copyContent(options: BackupOptions, named: Named, mayAgain: boolean): Promise<Content | null> {
  const { dataDir, target } = options;
  const damaged: string[] = [];
  const copyAll = async (digests: readonly string[], pathIn: typeof adapterPath, check: Check): Promise<boolean> => {
    for (const digest of digests) {
      const [from, to] = [pathIn(dataDir, digest), pathIn(target, digest)];
      if (await check(to, digest)) continue;
      if (await copyChecked(from, to, digest, check)) continue;
      if (!existsSync(from) && mayAgain) return false;
      damaged.push(digest);
    }
    return true;
  };
  if (!(await copyAll(named.adapters, adapterPath, isAdapter))) return null;
  if (!(await copyAll(named.files, filePath, isFile))) return null;
  await copyWork(options, named.jobs);
  return { adapters: named.adapters, files: named.files, damaged };
}

/** Checkpoints of jobs that are not over. One that is half there says so itself, and the job goes on from another. */
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
