// `lorikeet backup <folder>` while the server runs, and `lorikeet restore <folder>` into a new data dir.

import { resolve } from 'node:path';
import { backUp } from '../backup/backup.ts';
import type { Manifest } from '../backup/manifest.ts';
import { restore } from '../backup/restore.ts';
import { systemClock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { lockDatabase, lockDataDir, makeDataDir } from '../storage/data-dir.ts';
import { databaseLocation, isPostgresUrl } from '../storage/location.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, UsageError } from './command.ts';

export const backupCommand: Command = {
  name: 'backup',
  usage: 'backup <folder>',
  summary: 'copy keys, adapters, files and jobs of this data dir; the server may run',
  options: {},
  settings: 'server',
  concerns: ['dataDir', 'databaseUrl', 'blobUrl'],
  positionalsMax: 1,
  async run(invocation) {
    const [folder] = invocation.positionals;
    if (folder === undefined) throw new UsageError('Write `lorikeet backup <folder>`.');
    const { config } = invocation.loadConfig();
    const { dataDir } = config;
    const database = databaseFile(dataDir, config.databaseUrl);
    const manifest = await backUp({ dataDir, database, target: resolve(folder), now: systemClock.now() });
    return report(invocation, manifest, `Backed up to ${folder}`);
  },
};

export const restoreCommand: Command = {
  name: 'restore',
  usage: 'restore <folder>',
  summary: 'put a backup into a new data dir, on this machine or another',
  options: {},
  settings: 'server',
  concerns: ['dataDir', 'databaseUrl', 'blobUrl'],
  positionalsMax: 1,
  async run(invocation) {
    const [folder] = invocation.positionals;
    if (folder === undefined) throw new UsageError('Write `lorikeet restore <folder> --data-dir <new folder>`.');
    const { config } = invocation.loadConfig();
    const { dataDir } = config;
    makeDataDir(dataDir);
    const database = databaseFile(dataDir, config.databaseUrl);
    const unlock = [lockDataDir(dataDir), lockDatabase(database)];
    try {
      const manifest = await restore({ source: resolve(folder), dataDir, database });
      return report(invocation, manifest, `Restored to ${dataDir}`);
    } finally {
      for (const end of unlock) end();
    }
  },
};

/** Path of the SQLite database. Throws `invalid_config` for PostgreSQL, which has backup tools of its own. */
function databaseFile(dataDir: string, url: string | null): string {
  const location = databaseLocation(dataDir, url);
  if (!isPostgresUrl(location)) return location;
  const message = 'The database is a PostgreSQL: back it up with pg_dump, and then the content that it names.';
  throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_DATABASE_URL' });
}

/** Prints the result. Contents that were damaged before are named each time, and make the exit code a failure. */
function report({ json, print, printJson }: Invocation, manifest: Manifest, what: string): ExitCode {
  const { adapters, files, damaged, createdAt } = manifest;
  if (json) printJson({ created_at: createdAt, adapters: adapters.length, files: files.length, damaged });
  else print(`${what}: ${adapters.length} adapters' contents, ${files.length} files, as of ${createdAt}.`);
  if (damaged.length === 0) return exitCodes.ok;
  if (!json) print(`Damaged or missing before: ${damaged.join(', ')}`);
  return exitCodes.failed;
}
