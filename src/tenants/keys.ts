// Keys of tenants: makes, lists, changes, rotates, revokes and verifies them. Knows no HTTP, and not the admin key,
// which is configuration. Verifying reads memory, or sometimes a row; it never writes.

import { LRUCache } from 'lru-cache';
import { type Clock, sleep, systemTimers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import type { KeyPage, KeyTable, KeyUse } from '../storage/key-table.ts';
import { type Changes, unsharedChanges } from '../storage/replicas/changes.ts';
import type { KeyRow } from '../storage/tables.ts';
import { formatKey, generateKey, hashSecret, parseKey, secretMatches } from './key-format.ts';
import { type Quota, readQuota } from './quota.ts';
import { isScope, type Scope } from './scopes.ts';

/** What may be shown of a key. Times are milliseconds since the epoch. */
export type KeyRecord = {
  readonly prefix: string;
  readonly tenant: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdAt: number;
  readonly createdBy: string | null;
  /** Accurate to a minute, as is `lastIp`. */
  readonly lastUsedAt: number | null;
  readonly lastIp: string | null;
  readonly revokedAt: number | null;
  /** When the key ends; null: never. */
  readonly expiresAt: number | null;
  /** Names of the adapters that it may use; null: all of its tenant. The base model is open to every key. */
  readonly adapters: readonly string[] | null;
  /** The key's own quota; null: only its tenant's holds. */
  readonly quota: Quota | null;
  /** Prefix of the key that replaces it. */
  readonly replacedBy: string | null;
};

export type NewKey = Pick<KeyRecord, 'tenant' | 'name' | 'scopes'> &
  Partial<Pick<KeyRecord, 'expiresAt' | 'adapters' | 'quota' | 'createdBy'>>;

export type KeyChange = Partial<Pick<KeyRecord, 'name' | 'scopes' | 'expiresAt' | 'adapters' | 'quota'>>;

export type CreatedKey = { readonly key: string; readonly record: KeyRecord };

export type KeyStore = {
  /** @returns the whole key, which is shown once and stored nowhere. */
  create(key: NewKey): Promise<CreatedKey>;
  list(): Promise<KeyRecord[]>;
  page(page: KeyPage): Promise<KeyRecord[]>;
  /** null where there is none. */
  find(prefix: string): Promise<KeyRecord | null>;
  /** Throws `key_not_found`, also for a revoked key. */
  change(prefix: string, change: KeyChange): Promise<KeyRecord>;
  /**
   * Makes a key with the same rights; the old one works for `overlapMs` more. Throws `key_not_found`, also for a key
   * that is revoked or expired.
   */
  rotate(prefix: string, overlapMs: number, createdBy: string | null): Promise<CreatedKey>;
  /** @returns false where there is no such key, or it was revoked before. */
  revoke(prefix: string): Promise<boolean>;
  /** null for a key that is malformed, unknown, wrong, expired or revoked: a caller cannot tell which. */
  verify(key: string, ip?: string | null): Promise<KeyRecord | null>;
  /** Whether the key was verified lately and was right then. Reads no database. */
  isRemembered(key: string): boolean;
  /** The quota of a key that was verified lately; null: only its tenant's holds. Reads no database. */
  quotaOf(prefix: string): Quota | null;
  /** Whether a key was ever made. Revoked keys count: revoking the last key must not open the server. */
  any(): Promise<boolean>;
  /** Writes the times of keys' last uses. */
  flush(): Promise<void>;
};

/** Accuracy of a key's last use, in milliseconds. */
const lastUsedMs = 60_000;
/** Milliseconds for which a row in memory is used: the command line, another process, may change keys. */
const rememberedMs = 1000;
/**
 * Milliseconds that a silent database is waited for where memory has an answer, and for which it is then not asked
 * again.
 */
const [answerMsMax, awayMs] = [1000, 1000];
/** Keys in memory; the least recently used go first. */
const rememberedMax = 10_000;
/** Compared with where no key is found, so that an unknown prefix takes as long as a wrong secret. */
const noHash = Buffer.alloc(32);

type Remembered = { readonly row: KeyRow; readonly readAt: number };

export function keyStore(table: KeyTable, clock: Clock, changes: Changes = unsharedChanges()): KeyStore {
  const memory = keyMemory(table, clock, changes);
  const anyKey = rememberedAnswer(table.any, clock);
  return {
    ...changing({ table, clock, memory, changes, onCreated: anyKey.isTrue }),
    ...verifying({ table, clock, memory }),
    list: async () => (await table.list()).map(memory.withUse),
    page: async (page) => (await table.page(page)).map(memory.withUse),
    async find(prefix) {
      const row = await table.find(prefix);
      return row === undefined ? null : memory.withUse(row);
    },
    any: anyKey.ask,
  };
}

type Parts = { readonly table: KeyTable; readonly clock: Clock; readonly memory: KeyMemory };
type ChangingParts = Parts & { readonly changes: Changes; onCreated(): void };
type Changing = Pick<KeyStore, 'create' | 'change' | 'rotate' | 'revoke'>;

function changing({ table, clock, memory, changes, onCreated }: ChangingParts): Changing {
  const found = async (prefix: string): Promise<KeyRow> => {
    const row = await table.find(prefix);
    if (row === undefined || row.revoked_at !== null) throw unknownKey();
    return row;
  };
  /** Resolves when no server accepts the key by its earlier row. @param seq the change's number in the feed */
  const forgetEverywhere = async (prefix: string, seq: number): Promise<void> => {
    memory.forget(prefix);
    await changes.everywhere(seq);
  };
  return {
    async create(key) {
      assertAhead(key.expiresAt, clock.now());
      const { text, row } = newRow(key, clock.now());
      await table.insert(row);
      onCreated();
      return { key: text, record: toRecord(row) };
    },
    async change(prefix, change) {
      assertAhead(change.expiresAt, clock.now());
      const columns = columnsOf(change);
      if (Object.keys(columns).length > 0) {
        const seq = await table.change(prefix, columns);
        if (seq === null) throw unknownKey();
        await forgetEverywhere(prefix, seq);
      }
      return memory.withUse(await found(prefix));
    },
    async rotate(prefix, overlapMs, createdBy) {
      const old = await found(prefix);
      const now = clock.now();
      if (isExpired(old, now)) throw unknownKey();
      const { text, row } = newRow({ ...toRecord(old), createdBy }, now);
      const until = Math.min(now + overlapMs, old.expires_at ?? Number.POSITIVE_INFINITY);
      const seq = await table.rotate(prefix, { expires_at: until, replaced_by: row.prefix }, row);
      if (seq === null) throw unknownKey();
      await forgetEverywhere(prefix, seq);
      return { key: text, record: toRecord(row) };
    },
    async revoke(prefix) {
      const seq = await table.change(prefix, { revoked_at: clock.now() });
      if (seq !== null) await forgetEverywhere(prefix, seq);
      return seq !== null;
    },
  };
}

type Verifying = Pick<KeyStore, 'verify' | 'isRemembered' | 'quotaOf' | 'flush'>;

function verifying({ table, clock, memory }: Parts): Verifying {
  return {
    async verify(key, ip = null) {
      const parts = parseKey(key);
      if (parts === null) return null;
      const row = await memory.find(parts.prefix);
      const right = secretMatches(parts.secret, row === undefined ? noHash : Buffer.from(row.secret_hash, 'hex'));
      const now = clock.now();
      if (row === undefined || !right || row.revoked_at !== null || isExpired(row, now)) return null;
      memory.noteUse(row, now, ip);
      return memory.withUse(row);
    },
    isRemembered(key) {
      const parts = parseKey(key);
      const row = parts === null ? undefined : memory.known(parts.prefix);
      return row !== undefined && secretMatches(parts!.secret, Buffer.from(row.secret_hash, 'hex'));
    },
    quotaOf: (prefix) => readQuota(memory.known(prefix)?.quota ?? null),
    async flush() {
      const uses = memory.uses();
      if (uses.length === 0) return;
      await table.touch(uses);
      memory.written(uses);
    },
  };
}

type KeyMemory = ReturnType<typeof keyMemory>;

/** Rows that were read lately, and uses that are not written yet. */
function keyMemory(table: KeyTable, clock: Clock, changes: Changes) {
  const remembered = new LRUCache<string, Remembered>({ max: rememberedMax });
  /** Raised by every change: a row that was being read meanwhile may be older than the change and is not kept. */
  let changed = 0;
  const forget = (prefix: string): void => {
    changed++;
    remembered.delete(prefix);
  };
  changes.listen({
    apply: ({ kind, name }) => (kind === 'key' ? forget(name) : undefined),
    forgetAll() {
      changed++;
      remembered.clear();
    },
  });
  const uses = new Map<string, KeyUse>();
  /** Until when the database is not asked again where memory has an answer. */
  let awayUntil = Number.NEGATIVE_INFINITY;
  return {
    /**
     * The key's row. While the database cannot be read, the last row holds: a locked disk must not lock out every
     * caller.
     */
    async find(prefix: string): Promise<KeyRow | undefined> {
      const known = remembered.get(prefix);
      const now = clock.monotonic();
      // While this server has a lease, others wait for it before they report a key as revoked.
      const isTold = changes.staleMs === 0;
      if (known !== undefined && isTold && now - known.readAt < rememberedMs) return known.row;
      const isBelieved = known !== undefined && changes.isBelievable;
      if (isBelieved && now < awayUntil) return known.row;
      const before = changed;
      const found = table.find(prefix);
      const row = await (isBelieved ? soon(found) : found).catch((error) => {
        if (!isBelieved) throw error;
        awayUntil = clock.monotonic() + awayMs;
        return known.row;
      });
      if (row === undefined) remembered.delete(prefix);
      else if (changed === before) remembered.set(prefix, { row, readAt: now });
      return row;
    },
    known: (prefix: string): KeyRow | undefined => remembered.get(prefix)?.row,
    forget,
    withUse(row: KeyRow): KeyRecord {
      const use = uses.get(row.prefix);
      return toRecord(use === undefined ? row : { ...row, last_used_at: use.at, last_ip: use.ip });
    },
    noteUse(row: KeyRow, at: number, ip: string | null): void {
      const last = uses.get(row.prefix)?.at ?? row.last_used_at ?? 0;
      if (at - last >= lastUsedMs) uses.set(row.prefix, { prefix: row.prefix, at, ip });
    },
    uses: (): KeyUse[] => [...uses.values()],
    written(some: readonly KeyUse[]): void {
      for (const use of some) {
        if (uses.get(use.prefix) === use) uses.delete(use.prefix);
        // The row stays in memory: the database may be away when the key is used next.
        const known = remembered.peek(use.prefix);
        if (known !== undefined) {
          const row = { ...known.row, last_used_at: use.at, last_ip: use.ip };
          remembered.set(use.prefix, { ...known, row });
        }
      }
    },
  };
}

/** Throws for an `expiresAt` in the past, which is a mistake: a key is ended by revoking it. */
function assertAhead(expiresAt: number | null | undefined, now: number): void {
  if (expiresAt == null || expiresAt > now) return;
  const message = '`expires_at` is in the past. It is in seconds since 1970; `DELETE` ends a key at once.';
  throw new LorikeetError('invalid_parameter', { message, param: 'expires_at' });
}

/** Rejects after a second, so that nobody waits for a silent database. */
async function soon<T>(found: Promise<T>): Promise<T> {
  found.catch(() => {});
  const tooLong = sleep(systemTimers, answerMsMax).then(() => {
    throw new LorikeetError('storage_unavailable');
  });
  tooLong.catch(() => {});
  return await Promise.race([found, tooLong]);
}

const isExpired = ({ expires_at: at }: KeyRow, now: number) => at !== null && at <= now;

/**
 * Keeps an answer in memory. A yes stays true, since rows are never deleted; a no is asked again, and holds where that
 * fails.
 */
function rememberedAnswer(question: () => Promise<boolean>, clock: Clock) {
  let answer: boolean | null = null;
  let askedAt = 0;
  return {
    isTrue: () => {
      answer = true;
    },
    async ask(): Promise<boolean> {
      if (answer === true || (answer !== null && clock.monotonic() - askedAt < rememberedMs)) return answer;
      askedAt = clock.monotonic();
      const now = await question().catch((error) => {
        if (answer === null) throw error;
        return answer;
      });
      answer ||= now;
      return answer;
    },
  };
}

function newRow(key: NewKey, now: number): { text: string; row: KeyRow } {
  const parts = generateKey();
  const { tenant, name, scopes, expiresAt = null, adapters = null, quota = null, createdBy = null } = key;
  const row: KeyRow = {
    prefix: parts.prefix,
    secret_hash: hashSecret(parts.secret).toString('hex'),
    tenant,
    created_at: now,
    ...{ last_used_at: null, revoked_at: null, replaced_by: null, last_ip: null, created_by: createdBy },
    ...{ name, scopes: scopesText(scopes), expires_at: expiresAt, adapters: listText(adapters), quota: json(quota) },
  };
  return { text: formatKey(parts), row };
}

function columnsOf({ name, scopes, expiresAt, adapters, quota }: KeyChange): Partial<KeyRow> {
  return {
    ...(name === undefined ? {} : { name }),
    ...(scopes === undefined ? {} : { scopes: scopesText(scopes) }),
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    ...(adapters === undefined ? {} : { adapters: listText(adapters) }),
    ...(quota === undefined ? {} : { quota: json(quota) }),
  };
}

const scopesText = (scopes: readonly Scope[]) => [...new Set(scopes)].join(' ');
const json = (value: object | null) => (value === null ? null : JSON.stringify(value));
const listText = (names: readonly string[] | null) => (names === null ? null : JSON.stringify([...new Set(names)]));

const toRecord = (row: KeyRow): KeyRecord => ({
  prefix: row.prefix,
  tenant: row.tenant,
  name: row.name,
  scopes: row.scopes.split(' ').filter(isScope),
  createdAt: row.created_at,
  createdBy: row.created_by,
  lastUsedAt: row.last_used_at,
  lastIp: row.last_ip,
  revokedAt: row.revoked_at,
  expiresAt: row.expires_at,
  adapters: row.adapters === null ? null : (JSON.parse(row.adapters) as string[]),
  quota: readQuota(row.quota),
  replacedBy: row.replaced_by,
});

const unknownKey = () => new LorikeetError('key_not_found');
