// What the database has, by name, and of it in memory what was asked for last. Every request looks its adapter up
// here: where the name is known that takes a microsecond, else two queries. What is in memory may go at any time;
// whoever uses a version holds it (holds.ts).

import { LRUCache } from 'lru-cache';
import type { Timers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { type AdapterTable, adapterTable } from '../storage/adapter-table.ts';
import { type AliasTable, type AliasWithTargets, aliasTable } from '../storage/alias-table.ts';
import { type Database, exclusively } from '../storage/database.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { AdapterAlias } from './adapter-registry.ts';
import type { Known, Named } from './named.ts';
import { isAdapterName } from './reference.ts';

export type Names = ReturnType<typeof names>;

export type NamesParts = {
  readonly database: Database;
  readonly toKnown: (row: AdapterRow) => Known;
  /** Versions and aliases that are kept, of all names together. */
  readonly kept: number;
  readonly timers: Timers;
};

/** The tables, within one transaction. */
export type NameTables = { readonly adapters: AdapterTable; readonly aliases: AliasTable };

/** A name that is being read. */
type Reading = {
  readonly named: Promise<Named | undefined>;
  /** False from a change on: what is read may be from before it. */
  isCurrent: boolean;
  waiting: number;
};

/** How long a commit may still come whose answer was lost. */
const lostCommitMs = 60_000;

export function names(parts: NamesParts) {
  const { database, timers } = parts;
  const tables: NameTables = { adapters: adapterTable(database), aliases: aliasTable(database) };
  const { use, forget, forgetAll } = memory(parts, tables);
  return {
    ...tables,
    use,
    forget,
    forgetAll,
    /** Of several names at once; those of which there is nothing are left out. What is read is not kept. */
    several: (tenant: string, asked: readonly string[]): Promise<ReadonlyMap<string, Named>> =>
      read(parts, tables, tenant, asked.filter(isAdapterName)),
    /** A transaction in which nobody else changes the name: what it reads is what it changes. */
    async change<T>(tenant: string, name: string, work: (rows: NameTables) => Promise<T>): Promise<T> {
      try {
        return await exclusively(database, `adapter ${tenant} ${name}`, (transaction) =>
          work({ adapters: adapterTable(transaction), aliases: aliasTable(transaction) }),
        );
      } catch (error) {
        if (!isRefusal(error)) timers.after(lostCommitMs, () => forget(tenant, name));
        throw error;
      } finally {
        forget(tenant, name);
      }
    },
  };
}

function memory(parts: NamesParts, tables: NameTables) {
  const { kept } = parts;
  const known = new LRUCache<string, Named>({
    maxSize: kept,
    sizeCalculation: ({ versions, aliases }) => Math.min(1 + versions.length + aliases.size, kept),
  });
  const reading = new Map<string, Reading>();
  const keyOf = (tenant: string, name: string) => `${name}\n${tenant}`;

  const begin = (key: string, tenant: string, name: string): Reading => {
    const named = read(parts, tables, tenant, [name]).then((found) => found.get(name));
    const now: Reading = { named, isCurrent: true, waiting: 0 };
    reading.set(key, now);
    return now;
  };

  const useRead = async <T>(tenant: string, name: string, work: (named: Named | undefined) => T): Promise<T> => {
    const key = keyOf(tenant, name);
    for (;;) {
      const now = reading.get(key) ?? begin(key, tenant, name);
      now.waiting++;
      try {
        const named = await now.named;
        // Another change of the name came between: it is read again.
        if (!now.isCurrent) continue;
        if (named !== undefined) known.set(key, named);
        return work(named);
      } finally {
        now.waiting--;
        if (now.waiting === 0 && reading.get(key) === now) reading.delete(key);
      }
    }
  };

  return {
    /**
     * Gives `work` what goes by the name in the very moment in which it is true; undefined where there is nothing.
     * @returns at once what `work` returns where the name is known
     */
    use<T>(tenant: string, name: string, work: (named: Named | undefined) => T): T | Promise<T> {
      const named = known.get(keyOf(tenant, name));
      if (named !== undefined) return work(named);
      return isAdapterName(name) ? useRead(tenant, name, work) : work(undefined);
    },
    forget(tenant: string, name: string): void {
      const key = keyOf(tenant, name);
      known.delete(key);
      const now = reading.get(key);
      if (now !== undefined) now.isCurrent = false;
      reading.delete(key);
    },
    forgetAll(): void {
      known.clear();
      for (const now of reading.values()) now.isCurrent = false;
      reading.clear();
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

/** A change that was refused wrote nothing. */
const isRefusal = (error: unknown) => error instanceof LorikeetError && !error.code.startsWith('storage_');

const aliasesOf = (rows: readonly AliasWithTargets[]): Map<string, AdapterAlias> =>
  new Map(
    rows.map(({ name, alias, targets, revision, updated_at: updatedAt }) => [
      alias,
      { name, alias, targets, revision, updatedAt },
    ]),
  );
