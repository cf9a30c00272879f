// Which database belongs to which data dir. Both carry the same id, so that a start with another database, or without
// the right one, is refused before anything in the folder is changed.

import { existsSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { type Database, exclusively, openAndMigrate, restoreHint } from './database.ts';
import { type DatabaseLocation, isPostgresUrl, locationName } from './location.ts';

export type Identity = {
  readonly id: string;
  /** False until the database has the id too. */
  readonly isBound: boolean;
  /** Keys were required once: a start that finds no key is refused, and never serves callers without one. */
  readonly isClosed: boolean;
};

export const identityName = 'identity.json';

export type IdentityOptions = {
  readonly newId: () => string;
  readonly now: () => number;
  /** Several data dirs share this database: a new one takes the database's id. */
  readonly isShared?: boolean;
};

/** Opens the data dir's database. Throws `database_invalid` with what to do. */
export async function openOwnDatabase(
  dataDir: string,
  location: DatabaseLocation,
  { newId, now, isShared = false }: IdentityOptions,
): Promise<Database> {
  const identity = readIdentity(dataDir);
  const wasUsed = identity?.isBound || (!isShared && holdsContent(dataDir));
  if (wasUsed && !isPostgresUrl(location)) assertFile(dataDir, location);
  const { database, schemaBefore } = await openAndMigrate(location);
  try {
    if (wasUsed && schemaBefore === 0) throw lost(dataDir, location, 'is empty');
    await bind(dataDir, identity, { database, schemaBefore, location, isShared, id: newId(), now: now() });
    return database;
  } catch (error) {
    await database.destroy();
    throw error;
  }
}

/** Throws where the file is missing or empty. Called before opening, which would make a new file. */
function assertFile(dataDir: string, path: string): void {
  if (existsSync(path) && statSync(path).size > 0) return;
  throw lost(dataDir, path, existsSync(path) ? 'is empty' : 'is missing');
}

function lost(dataDir: string, location: DatabaseLocation, what: string): LorikeetError {
  return invalid(`The database ${locationName(location)} ${what}, but the data dir ${dataDir} has been in use.`);
}

/** Notes for good that callers need a key. */
export function closeForGood(dataDir: string): void {
  const identity = readIdentity(dataDir);
  if (identity !== null && !identity.isClosed) writeIdentity(dataDir, { ...identity, isClosed: true });
}

export function readIdentity(dataDir: string): Identity | null {
  const path = join(dataDir, identityName);
  if (!existsSync(path)) return null;
  try {
    const { id, isBound, isClosed } = JSON.parse(readFileSync(path, 'utf8')) as Identity;
    if (typeof id === 'string') return { id, isBound: isBound === true, isClosed: isClosed === true };
  } catch {
    // An unreadable file is reported below.
  }
  throw invalid(`${path} is damaged.`);
}

/** Writes the file so that after a crash it has its old or its new content, never half of it. */
export function writeIdentity(dataDir: string, identity: Identity): void {
  const path = join(dataDir, identityName);
  writeFileSync(`${path}.new`, `${JSON.stringify(identity)}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

type Opened = {
  readonly database: Database;
  readonly schemaBefore: number;
  readonly location: DatabaseLocation;
  readonly isShared: boolean;
  readonly id: string;
  readonly now: number;
};

/** The first version of the schema that stores the id. */
const schemaWithId = 5;

async function bind(dataDir: string, identity: Identity | null, opened: Opened): Promise<void> {
  const { database, schemaBefore, location, isShared } = opened;
  const known = await idOf(database);
  if (identity?.isBound && known === identity.id) return;
  const isNew = identity === null ? known === null || isShared : !identity.isBound || schemaBefore < schemaWithId;
  if (!isNew) throw invalid(`The database ${locationName(location)} belongs to another data dir than ${dataDir}.`);
  const unbound = identity ?? { id: opened.id, isBound: false, isClosed: false };
  if (identity === null) writeIdentity(dataDir, unbound);
  // Where two processes start at once, both take the id of the first.
  const id = known ?? (await makeId(database, unbound.id, opened.now));
  writeIdentity(dataDir, { ...unbound, id, isBound: true });
}

async function idOf(database: Database): Promise<string | null> {
  return (await database.selectFrom('installation').select('id').executeTakeFirst())?.id ?? null;
}

const makeId = (database: Database, id: string, now: number): Promise<string> =>
  exclusively(database, 'installation', async (transaction) => {
    const there = await idOf(transaction);
    if (there === null) await transaction.insertInto('installation').values({ id, created_at: now }).execute();
    return there ?? id;
  });

/** Whether there are adapters or training files: contents whose names are only in a database. */
function holdsContent(dataDir: string): boolean {
  const folders = [join(dataDir, 'adapters', 'blobs'), join(dataDir, 'training', 'files', 'blobs')];
  return folders.some((folder) => existsSync(folder) && readdirSync(folder).length > 0);
}

const invalid = (what: string) => new LorikeetError('database_invalid', { message: `${what} ${restoreHint}` });
