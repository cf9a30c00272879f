// Operators' settings of tenants: quotas, and whether their keys are accepted. All of them are in memory, since every
// request reads them. A tenant exists from its first key on.

import type { Clock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { serially } from '../core/serially.ts';
import type { KeyTable } from '../storage/key-table.ts';
import { type Changes, unsharedChanges } from '../storage/replicas/changes.ts';
import type { TenantRow } from '../storage/tables.ts';
import type { TenantTable } from '../storage/tenant-table.ts';
import { type Quota, readQuota } from './quota.ts';

export type Tenant = {
  readonly name: string;
  readonly createdAt: number | null;
  /** Milliseconds since the epoch; null: its keys are accepted. */
  readonly disabledAt: number | null;
  /** The tenant's quota; null: the server's own limits. */
  readonly quota: Quota | null;
};

export type TenantChange = { readonly quota?: Quota | null; readonly disabled?: boolean };

export type TenantStore = {
  /** Tenants in the order of their names. */
  list(): Promise<Tenant[]>;
  /** Throws `tenant_not_found`. */
  find(name: string): Promise<Tenant>;
  /** Changes a tenant, which needs no key yet. */
  change(name: string, change: TenantChange): Promise<Tenant>;
  isDisabled(name: string): boolean;
  quotaOf(name: string): Quota | null;
};

export async function openTenants(
  table: TenantTable,
  keys: KeyTable,
  clock: Clock,
  changes: Changes = unsharedChanges(),
): Promise<TenantStore> {
  const decided = new Map<string, Tenant>();
  const inTurn = serially();
  const readAll = () =>
    inTurn(async () => {
      const rows = await table.all();
      decided.clear();
      for (const row of rows) decided.set(row.name, tenantOf(row));
    });
  const readOne = (name: string) =>
    inTurn(async () => {
      const row = await table.find(name);
      if (row !== undefined) decided.set(name, tenantOf(row));
    });
  changes.listen({
    apply: ({ kind, name }) => (kind === 'tenant' ? readOne(name) : undefined),
    forgetAll: readAll,
  });
  await readAll();
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
      const now = clock.now();
      const { row, seq } = await table.change(name, (before) => ({
        name,
        created_at: before?.created_at ?? now,
        disabled_at:
          disabled === undefined ? (before?.disabled_at ?? null) : disabled ? (before?.disabled_at ?? now) : null,
        quota: quota === undefined ? (before?.quota ?? null) : quota === null ? null : JSON.stringify(quota),
      }));
      await readOne(name);
      await changes.everywhere(seq);
      return tenantOf(row);
    },
    isDisabled: (name) => (decided.get(name)?.disabledAt ?? null) !== null,
    quotaOf: (name) => decided.get(name)?.quota ?? null,
  };
  return store;
}

const tenantOf = ({ name, created_at: createdAt, disabled_at: disabledAt, quota }: TenantRow): Tenant => ({
  ...{ name, createdAt, disabledAt, quota: readQuota(quota) },
});
