// Keys of tenants: make, list, revoke, verify. It knows no HTTP, and not the admin key: that one is configuration.

import type { Clock } from '../core/clock.ts';
import type { KeyTable } from '../storage/key-table.ts';
import type { KeyRow } from '../storage/tables.ts';
import { formatKey, generateKey, hashSecret, parseKey, secretMatches } from './key-format.ts';
import { isScope, type Scope } from './scopes.ts';

/** What may be shown of a key. Times are milliseconds since the epoch. */
export type KeyRecord = {
  readonly prefix: string;
  readonly tenant: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdAt: number;
  /** To the minute. */
  readonly lastUsedAt: number | null;
  readonly revokedAt: number | null;
};

export type NewKey = { readonly tenant: string; readonly name: string; readonly scopes: readonly Scope[] };

export type KeyStore = {
  /** @returns the whole key, which is shown once and kept nowhere. */
  create(key: NewKey): Promise<{ key: string; record: KeyRecord }>;
  list(): Promise<KeyRecord[]>;
  /** @returns false where there is no such key, or it was revoked before. */
  revoke(prefix: string): Promise<boolean>;
  /** null for a key that is malformed, unknown, wrong or revoked: a caller cannot tell which. */
  verify(key: string): Promise<KeyRecord | null>;
  /** Whether a key was ever made. Revoked ones count: revoking the last key must not open the server. */
  any(): Promise<boolean>;
};

/** `last_used_at` costs a synced write, so it is written once a minute and not once a request. */
const lastUsedMs = 60_000;
/** Compared with where no key was found, so that an unknown prefix takes as long as a wrong secret. */
const noHash = Buffer.alloc(32);

export function keyStore(table: KeyTable, clock: Clock): KeyStore {
  let hasKeys = false;
  return {
    async create({ tenant, name, scopes }) {
      const parts = generateKey();
      const row: KeyRow = {
        prefix: parts.prefix,
        secret_hash: hashSecret(parts.secret).toString('hex'),
        tenant,
        name,
        scopes: [...new Set(scopes)].join(' '),
        created_at: clock.now(),
        last_used_at: null,
        revoked_at: null,
      };
      await table.insert(row);
      return { key: formatKey(parts), record: toRecord(row) };
    },
    list: async () => (await table.list()).map(toRecord),
    revoke: (prefix) => table.revoke(prefix, clock.now()),
    async verify(key) {
      const parts = parseKey(key);
      if (parts === null) return null;
      const row = await table.find(parts.prefix);
      const right = secretMatches(parts.secret, row === undefined ? noHash : Buffer.from(row.secret_hash, 'hex'));
      if (row === undefined || !right || row.revoked_at !== null) return null;
      const now = clock.now();
      if (now - (row.last_used_at ?? 0) >= lastUsedMs) await table.touch(row.prefix, now);
      return toRecord(row);
    },
    async any() {
      // Rows are never deleted, so a yes stays true; a no is asked again, since the command line may add one.
      hasKeys ||= await table.any();
      return hasKeys;
    },
  };
}

const toRecord = (row: KeyRow): KeyRecord => ({
  prefix: row.prefix,
  tenant: row.tenant,
  name: row.name,
  scopes: row.scopes.split(' ').filter(isScope),
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at,
  revokedAt: row.revoked_at,
});
