// What the operator decided of tenants: their quotas, and whether their keys are taken. All of it is in memory, since
// every request asks. A tenant comes into being with its first key.

import type { Clock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import type { KeyTable } from '../storage/key-table.ts';
import type { TenantTable } from '../storage/tenant-table.ts';
import { type Quota, readQuota } from './quota.ts';

export type Tenant = {
  readonly name: string;
  readonly createdAt: number | null;
  /** Milliseconds since the epoch; null: its keys are taken. */
  readonly disabledAt: number | null;
  /** null: the server's own limits. */
  readonly quota: Quota | null;
};

export type TenantChange = { readonly quota?: Quota | null; readonly disabled?: boolean };

export type TenantStore = {
  /** By name. */
  list(): Promise<Tenant[]>;
  /** Throws `tenant_not_found`. */
  find(name: string): Promise<Tenant>;
  /** Also of one that has no key yet. */
  change(name: string, change: TenantChange): Promise<Tenant>;
  isDisabled(name: string): boolean;
  quotaOf(name: string): Quota | null;
};

export async function openTenants(table: TenantTable, keys: KeyTable, clock: Clock): Promise<TenantStore> {
  const decided = new Map<string, Tenant>();
  for (const { name, created_at: createdAt, disabled_at: disabledAt, quota } of await table.all()) {
    decided.set(name, { name, createdAt, disabledAt, quota: readQuota(quota) });
  }
  const undecided = (name: string): Tenant => ({ name, createdAt: null, disabledAt: null, quota: null });
  const store: TenantStore = {
    async list() {
      const names = new Set([...decided.keys(), ...(await keys.tenants())]);
      return [...names].sort().map((name) => decided.get(name) ?? undecided(name));
    },
    async find(name) {
      const found = (await store.list()).find((tenant) => tenant.name === name);
      if (found === undefined) throw new LorikeetError('tenant_not_found');
      return found;
    },
    async change(name, { quota, disabled }) {
      const before = decided.get(name) ?? undecided(name);
      const now = clock.now();
      const disabledAt = disabled ? (before.disabledAt ?? now) : null;
      const after: Tenant = {
        name,
        createdAt: before.createdAt ?? now,
        disabledAt: disabled === undefined ? before.disabledAt : disabledAt,
        quota: quota === undefined ? before.quota : quota,
      };
      await table.save({
        ...{ name, created_at: after.createdAt ?? now, disabled_at: after.disabledAt },
        quota: after.quota === null ? null : JSON.stringify(after.quota),
      });
      decided.set(name, after);
      return after;
    },
    isDisabled: (name) => (decided.get(name)?.disabledAt ?? null) !== null,
    quotaOf: (name) => decided.get(name)?.quota ?? null,
  };
  return store;
}
