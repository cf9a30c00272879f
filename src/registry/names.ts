// Reads adapters by name from the database, and keeps the names that were asked for last in memory. Every request looks
// its adapter up here: a known name takes a microsecond, another one two queries. Memory may be dropped at any time;
// whoever uses a version holds a lease (holds.ts).

import { LRUCache } from 'lru-cache';
import type { Timers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { type AdapterTable, adapterTable, type VersionKey } from '../storage/adapter-table.ts';
import { type AliasTable, type AliasWithTargets, aliasTable } from '../storage/alias-table.ts';
import { type Database, exclusively, lockKey } from '../storage/database.ts';
import { tell } from '../storage/replicas/change-table.ts';
import type { ChangeDetail } from '../storage/replicas/changes.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { AdapterAlias } from './adapter-registry.ts';
import type { Known, Named } from './named.ts';
import { isAdapterName } from './reference.ts';

export type Names = ReturnType<typeof names>;

export type NamesParts = {
  readonly database: Database;
  readonly toKnown: (row: AdapterRow) => Known;
  /** Limit of the versions and aliases in memory, of all names together. */
  readonly kept: number;
  readonly timers: Timers;
};

/** The tables within one transaction. */
export type NameTables = { readonly adapters: AdapterTable; readonly aliases: AliasTable };

export type NameChange = NameTables & {
  /** Takes a lock that changes of other names take too, until this change ends. Taken after all other locks. */
  lock(key: string): Promise<void>;
};

/**
 * Result of a change, and its number in the feed: other servers may still use the earlier state until they reach it.
 */
export type Changed<T> = { readonly value: T; readonly seq: number };

/** What a change takes and tells beside the name. */
export type Told<T> = {
  /** A lock taken after the name's own, for which changes of other names wait too. */
  readonly lock?: string;
  detail?(value: T): ChangeDetail | undefined;
};

/** A read of a name that is under way. */
type Reading = {
  readonly named: Promise<Named | undefined>;
  /** False after a change of the name: the result may be older than the change. */
  isCurrent: boolean;
  waiting: number;
};

/** Names that one change tells; a content may have very many versions, and beyond this all names are forgotten. */
const toldMax = 100;
export const everyName = { tenant: '', name: '' };

/** Milliseconds within which a commit may still come whose answer was lost. */
const lostCommitMs = 60_000;

export function names(parts: NamesParts) {
  const { database } = parts;
  const tables: NameTables = { adapters: adapterTable(database), aliases: aliasTable(database) };
  const { use, renew, forget, forgetAll } = memory(parts, tables);
  const afterFailure = failures(parts, tables);
  return {
    ...tables,
    use,
    renew,
    forget,
    forgetAll,
    /** Reads several names; missing ones are left out. The results are not kept in memory. */
    several: (tenant: string, asked: readonly string[]): Promise<ReadonlyMap<string, Named>> =>
      read(parts, tables, tenant, asked.filter(isAdapterName)),
    /**
     * Changes the state of all versions with this content, and tells other servers their names. @returns the changed
     * versions
     */
    async setState(digest: string, from: string, to: string): Promise<VersionKey[]> {
      try {
        const changed = await database
          .transaction()
          .execute((transaction) => setStateAndTell(transaction, digest, from, to));
        for (const { tenant, name } of changed) forget(tenant, name);
        return changed;
      } catch (error) {
        afterFailure(error, forgetAll);
        throw error;
      }
    },
    /** Runs `work` in a transaction in which nobody else changes the name, so that it changes what it has read. */
    async change<T>(
      tenant: string,
      name: string,
      work: (rows: NameChange) => Promise<T>,
      { lock, detail }: Told<T> = {},
    ): Promise<Changed<T>> {
      try {
        return await exclusively(database, `adapter ${tenant} ${name}`, async (transaction) => {
          if (lock !== undefined) await lockKey(transaction, lock);
          const value = await work({
            adapters: adapterTable(transaction),
            aliases: aliasTable(transaction),
            lock: (key) => lockKey(transaction, key),
          });
          const more = detail?.(value);
          const change = { kind: 'adapter' as const, tenant, name };
          return { value, seq: await tell(transaction, more === undefined ? change : { ...change, detail: more }) };
        }).then((changed) => {
          forget(tenant, name);
          return changed;
        });
      } catch (error) {
        afterFailure(error, () => forget(tenant, name));
        throw error;
      }
    },
  };
}

async function setStateAndTell(transaction: Database, digest: string, from: string, to: string) {
  const changed = await adapterTable(transaction).setState(digest, from, to);
  const told = new Map(changed.map(({ tenant, name }) => [`${name}\n${tenant}`, { tenant, name }]));
  const all = told.size > toldMax ? [everyName] : told.values();
  for (const one of all) await tell(transaction, { kind: 'adapter', ...one });
  return changed;
}

/** Forgets names after a change that failed, because it may have reached the database all the same. */
function failures(parts: NamesParts, tables: NameTables) {
  const { timers } = parts;
  /** Forgets once the database answers again: a commit may have come whose answer was lost. */
  const whenAble = (forgetIt: () => void): void => {
    timers.after(lostCommitMs, () => {
      read(parts, tables, everyName.tenant, [everyName.name]).then(forgetIt, () => whenAble(forgetIt));
    });
  };
  return (error: unknown, forgetIt: () => void): void => {
    // While the database is away, names in memory are served as they are.
    if (isAway(error)) whenAble(forgetIt);
    else {
      forgetIt();
      if (!isRefusal(error)) timers.after(lostCommitMs, forgetIt);
    }
  };
}

/** Reads of names that are under way. Callers that ask meanwhile wait for the newest of them. */
function readings(parts: NamesParts, tables: NameTables) {
  const running = new Map<string, Set<Reading>>();
  const outdate = (some: Iterable<Reading>): void => {
    for (const one of some) one.isCurrent = false;
  };
  return {
    get: (key: string) => [...(running.get(key) ?? [])].at(-1),
    begin(key: string, tenant: string, name: string): Reading {
      const named = read(parts, tables, tenant, [name]).then((found) => found.get(name));
      const now: Reading = { named, isCurrent: true, waiting: 0 };
      running.set(key, (running.get(key) ?? new Set()).add(now));
      return now;
    },
    leave(key: string, now: Reading): void {
      now.waiting--;
      const some = running.get(key);
      if (now.waiting === 0 && some?.delete(now) && some.size === 0) running.delete(key);
    },
    forget(key: string): void {
      outdate(running.get(key) ?? []);
      running.delete(key);
    },
    forgetAll(): void {
      for (const some of running.values()) outdate(some);
      running.clear();
    },
  };
}

function memory(parts: NamesParts, tables: NameTables) {
  const { kept } = parts;
  const known = new LRUCache<string, Named>({
    maxSize: kept,
    sizeCalculation: ({ versions, aliases }) => Math.min(1 + versions.length + aliases.size, kept),
  });
  const reading = readings(parts, tables);
  const keyOf = (tenant: string, name: string) => `${name}\n${tenant}`;

  const useRead = async <T>(tenant: string, name: string, work: (named: Named | undefined) => T): Promise<T> => {
    const key = keyOf(tenant, name);
    for (;;) {
      const now = reading.get(key) ?? reading.begin(key, tenant, name);
      now.waiting++;
      try {
        const named = await now.named;
        // A change of the name came between, so it is read again.
        if (!now.isCurrent) continue;
        if (named !== undefined) known.set(key, named);
        return work(named);
      } finally {
        reading.leave(key, now);
      }
    }
  };

  return {
    /**
     * Calls `work` with the name's versions and aliases, in the same tick in which they are current; undefined: none.
     * @returns the result of `work`, without a promise where the name is in memory
     */
    use<T>(tenant: string, name: string, work: (named: Named | undefined) => T): T | Promise<T> {
      const named = known.get(keyOf(tenant, name));
      if (named !== undefined) return work(named);
      return isAdapterName(name) ? useRead(tenant, name, work) : work(undefined);
    },
    /** Reads the name again. Where that fails, what memory has of it stays. */
    async renew(tenant: string, name: string): Promise<void> {
      const key = keyOf(tenant, name);
      const now = reading.begin(key, tenant, name);
      now.waiting++;
      try {
        const named = await now.named;
        if (!now.isCurrent) return;
        if (named === undefined) known.delete(key);
        else known.set(key, named);
      } finally {
        reading.leave(key, now);
      }
    },
    forget(tenant: string, name: string): void {
      const key = keyOf(tenant, name);
      known.delete(key);
      reading.forget(key);
    },
    forgetAll(): void {
      known.clear();
      reading.forgetAll();
    },
  };
}

async function read(
  { toKnown }: NamesParts,
  tables: NameTables,
  tenant: string,
  names: readonly string[],
): Promise<Map<string, Named>> {
  if (names.length === 0) return new Map();
  const rows = [tables.adapters.ofNames(tenant, names), tables.aliases.ofNames(tenant, names)] as const;
  const [versions, aliases] = await Promise.all(rows);
  const aliasRows = Map.groupBy(aliases, ({ name }) => name);
  const found = Map.groupBy(versions, ({ name }) => name).entries();
  return new Map(
    found.map(([name, same]) => [name, { versions: same.map(toKnown), aliases: aliasesOf(aliasRows.get(name) ?? []) }]),
  );
}

const isAway = (error: unknown) => error instanceof LorikeetError && error.code === 'storage_unavailable';

/** Whether the change was refused, and so wrote nothing. */
const isRefusal = (error: unknown) => error instanceof LorikeetError && !error.code.startsWith('storage_');

const aliasesOf = (rows: readonly AliasWithTargets[]): Map<string, AdapterAlias> =>
  new Map(
    rows.map(({ name, alias, targets, revision, updated_at: updatedAt }) => [
      alias,
      { name, alias, targets, revision, updatedAt },
    ]),
  );
