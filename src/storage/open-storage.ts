// Opens all that a server keeps its state in: the data dir, the database, and the store of contents where one is set.
// Each is locked for this server before anything is changed.

import type { Clock, Timers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { lockDatabase, lockDataDir, makeDataDir } from './data-dir.ts';
import { checkLarge, type Database, openPostgres } from './database.ts';
import { openOwnDatabase } from './identity.ts';
import { databaseLocation, isPostgresUrl } from './location.ts';
import type { ObjectStore } from './object-store.ts';
import { lockServer } from './postgres/server-lock.ts';
import { type Changes, unsharedChanges } from './replicas/changes.ts';
import { type OpenReplica, openReplica } from './replicas/open-replica.ts';

export type StorageSettings = {
  /** Seconds for which the server goes on without the database by what it has in memory. */
  readonly registryStale: number;
  readonly dataDir: string;
  readonly databaseUrl: string | null;
  readonly blobUrl: string | null;
};

export type StorageParts = {
  readonly newId: () => string;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { warn(fields: object, message: string): void };
  /** Aborted where storage is lost after the start: another server has the database, or the database is damaged. */
  readonly lost: AbortController;
};

export type OpenStorage = {
  readonly database: Database;
  readonly store: ObjectStore | null;
  /** The feed of changes to and from other servers. */
  readonly changes: Changes;
};

/** Milliseconds after which a renewal of the lease without an answer is tried again on another connection. */
const beatMsMax = 2000;

/** Opens storage and adds to `open` what closes it, in reverse. */
export async function openStorage(
  { dataDir, databaseUrl, blobUrl, registryStale }: StorageSettings,
  { newId, clock, timers, log, lost }: StorageParts,
  open: AsyncDisposableStack,
): Promise<OpenStorage> {
  makeDataDir(dataDir);
  open.defer(lockDataDir(dataDir));
  const location = databaseLocation(dataDir, databaseUrl);
  if (!isPostgresUrl(location)) open.defer(lockDatabase(location));
  const isShared = isPostgresUrl(location) && blobUrl !== null;
  const database = await openOwnDatabase(dataDir, location, { newId, now: clock.now, isShared });
  open.defer(() => database.destroy());
  let replica: OpenReplica | null = null;
  if (isPostgresUrl(location)) {
    const onLost = () => {
      const message = 'Another server took the database over while it could not be reached from here.';
      lost.abort(new LorikeetError('storage_unavailable', { message }));
    };
    const lock = await lockServer(location, timers, onLost, { isShared, onHint: () => replica?.hint() });
    open.defer(lock.release);
    const beats = await openPostgres(location, { connections: 2, answerMs: beatMsMax });
    open.defer(() => beats.destroy());
    replica = await openReplica({
      ...{ database: beats, id: newId(), isShared, clock, timers, log, staleMsMax: registryStale * 1000 },
    });
    open.defer(replica.close);
  } else {
    // A damaged database stops the server now, as it would have stopped its start.
    const checked = checkLarge(location).catch((error) => {
      if (isDamaged(error)) lost.abort(error);
    });
    open.defer(() => checked);
  }
  const store = blobUrl === null ? null : await openStore(blobUrl);
  open.defer(() => store?.close());
  return { database, store, changes: replica ?? unsharedChanges() };
}

/** Opens a store. The client is loaded only where a URL asks for it. */
export async function openStore(url: string): Promise<ObjectStore> {
  const { openS3 } = await import('./s3/open-s3.ts');
  return await openS3(url);
}

const isDamaged = (error: unknown) => error instanceof LorikeetError && error.code === 'database_invalid';
