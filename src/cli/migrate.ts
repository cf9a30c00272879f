// `lorikeet migrate --to postgres://... [s3://...]`: copies a data dir's rows into PostgreSQL and its contents into S3,
// while its server is stopped. A migration that broke off continues when the command is run again.

import { existsSync, renameSync } from 'node:fs';
import { systemTimers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { type MovedContents, type MoveLog, moveContents } from '../main/move-contents.ts';
import { lockDatabase, lockDataDir } from '../storage/data-dir.ts';
import { type Database, openDatabase } from '../storage/database.ts';
import { databaseLocation, isPostgresUrl, locationName } from '../storage/location.ts';
import { type MovedRows, moveRows } from '../storage/move-rows.ts';
import { openStore } from '../storage/open-storage.ts';
import { lockServer } from '../storage/postgres/server-lock.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, UsageError } from './command.ts';

export const migrateCommand: Command = {
  name: 'migrate',
  usage: 'migrate --to <postgres://... or s3://...> [<the other>]',
  summary:
    'move keys, adapters, files and jobs of this data dir to a PostgreSQL, contents to S3; stop the server first',
  options: { to: { placeholder: 'url', help: 'where to' } },
  settings: 'server',
  concerns: ['dataDir', 'databaseUrl', 'blobUrl'],
  positionalsMax: 1,
  async run(invocation) {
    const { postgres, s3 } = targetsOf(invocation);
    const { config } = invocation.loadConfig();
    const { dataDir } = config;
    const path = databaseLocation(dataDir, config.databaseUrl);
    if (isPostgresUrl(path))
      throw invalid('LORIKEET_DATABASE_URL says where the rows are: name the file, or unset it.');
    if (!existsSync(path)) throw invalid(`There is no database at ${path}.`);
    await using open = new AsyncDisposableStack();
    open.defer(lockDataDir(dataDir));
    open.defer(lockDatabase(path));
    const source = await openDatabase(path);
    open.defer(() => source.destroy());
    const contents = s3 === null ? null : await intoStore(dataDir, source, s3, logOf(invocation));
    const rows = postgres === null ? null : await intoPostgres(source, postgres);
    if (rows !== null) {
      // A start refuses a data dir whose database is missing, so no server continues with the rows that were left
      // behind.
      await source.destroy();
      renameSync(path, `${path}.moved`);
    }
    return report(invocation, { contents, rows, path });
  },
};

type Targets = { readonly postgres: string | null; readonly s3: string | null };

function targetsOf({ flags, positionals }: Invocation): Targets {
  const urls = [flags.to, ...positionals].filter((url) => url !== undefined).map(String);
  const [postgres, s3] = [urls.filter(isPostgresUrl), urls.filter((url) => url.startsWith('s3://'))];
  const isUsable = urls.length > 0 && postgres.length + s3.length === urls.length;
  if (isUsable && postgres.length < 2 && s3.length < 2) return { postgres: postgres[0] ?? null, s3: s3[0] ?? null };
  throw new UsageError(`Write \`lorikeet ${migrateCommand.usage}\`.`);
}

async function intoStore(dataDir: string, source: Database, url: string, log: MoveLog): Promise<MovedContents> {
  const store = await openStore(url);
  try {
    return await moveContents(dataDir, source, store, log);
  } finally {
    store.close();
  }
}

async function intoPostgres(source: Database, url: string): Promise<MovedRows> {
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  const lock = await lockServer(url, systemTimers, () => lost.reject(new LorikeetError('storage_unavailable')));
  try {
    const target = await openDatabase(url);
    try {
      return await Promise.race([moveRows(source, target), lost.promise]);
    } finally {
      await target.destroy();
    }
  } finally {
    await lock.release();
  }
}

const logOf = ({ io, json }: Invocation): MoveLog => {
  const say = (_fields: object, message: string) => {
    if (!json) io.stderr.write(`${message}\n`);
  };
  return { info: say, warn: say, error: say };
};

type Report = { readonly contents: MovedContents | null; readonly rows: MovedRows | null; readonly path: string };

/**
 * Prints the result. Contents that were damaged before are named and make the exit code a failure; all others are
 * moved.
 */
function report({ json, print, printJson }: Invocation, { contents, rows, path }: Report): ExitCode {
  const damaged = contents?.damaged ?? [];
  if (json) {
    const { adapters = null, files = null } = contents ?? {};
    printJson({ adapters, files, damaged, rows: rows?.rows ?? null });
  } else {
    if (contents !== null) {
      print(
        `In the store: ${contents.adapters} adapters' contents, ${contents.files} files. Set LORIKEET_BLOB_URL to it.`,
      );
    }
    if (rows !== null) {
      const what = rows.isNew ? `${rows.rows} rows, compared with those here` : `${rows.rows} rows, which were there`;
      print(`In the database: ${what}. Set LORIKEET_DATABASE_URL to it.`);
      print(`The old database is ${locationName(path)}.moved; this data dir starts with the new one only.`);
    }
    if (damaged.length > 0) print(`Damaged or missing before: ${damaged.join(', ')}`);
  }
  return damaged.length === 0 ? exitCodes.ok : exitCodes.failed;
}

const invalid = (message: string) => new LorikeetError('invalid_config', { message, param: 'LORIKEET_DATABASE_URL' });
