// Which database belongs to which data dir. Both carry the same id, so that a start with another database, or without
// the right one, is refused before anything of the folder is touched.

import { existsSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { type Database, exclusively, openAndMigrate, restoreHint } from './database.ts';
import { type DatabaseLocation, isPostgresUrl, locationName } from './location.ts';

export type Identity = {
  readonly id: string;
  /** False from the folder's making until the database has the id too. */
  readonly isBound: boolean;
  /** There was a key once: without any the server does not open again by itself. */
  readonly isClosed: boolean;
};

export const identityName = 'identity.json';

export type IdentityOptions = {
  readonly newId: () => string;
  readonly now: () => number;
  /** Many data dirs have this database: a new one takes its id. */
  readonly isShared?: boolean;
};

/** Opens the data dir's database. Throws `database_invalid`, saying what to do. */
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

/** Before anything is made in its place. */
function assertFile(dataDir: string, path: string): void {
  if (existsSync(path) && statSync(path).size > 0) return;
  throw lost(dataDir, path, existsSync(path) ? 'is empty' : 'is missing');
}

function lost(dataDir: string, location: DatabaseLocation, what: string): LorikeetError {
  return invalid(`The database ${locationName(location)} ${what}, but the data dir ${dataDir} has been in use.`);
}

/** From the first key on, for good. */
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
    // Said below.
  }
  throw invalid(`${path} is damaged.`);
}

/** The old file or the new one, never half of it. */
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

/** The first schema that has an id. */
const schemaWithId = 5;

async function bind(dataDir: string, identity: Identity | null, opened: Opened): Promise<void> {
  const { database, schemaBefore, location, isShared } = opened;
  const known = await idOf(database);
  if (identity?.isBound && known === identity.id) return;
  const isNew = identity === null ? known === null || isShared : !identity.isBound || schemaBefore < schemaWithId;
  if (!isNew) throw invalid(`The database ${locationName(location)} belongs to another data dir than ${dataDir}.`);
  const unbound = identity ?? { id: opened.id, isBound: false, isClosed: false };
  if (identity === null) writeIdentity(dataDir, unbound);
  // Of two processes that start at once the first one's id counts.
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

/** Adapters or rows of training: content whose names are in a database only. */
function holdsContent(dataDir: string): boolean {
  const folders = [join(dataDir, 'adapters', 'blobs'), join(dataDir, 'training', 'files', 'blobs')];
  return folders.some((folder) => existsSync(folder) && readdirSync(folder).length > 0);
}

const invalid = (what: string) => new LorikeetError('database_invalid', { message: `${what} ${restoreHint}` });
