// What a tenant and a key get from this server: their share of the engine, their rates, and their usage. One object for
// the routes. Knows no HTTP.

import type { Clock, Timers } from '../core/clock.ts';
import type { Keeper, KeptField, QuotaCheck } from '../core/quota-check.ts';
import type { Share } from '../core/share.ts';
import type { Database } from '../storage/database.ts';
import { rateTable } from '../storage/rate-table.ts';
import { type Changes, unsharedChanges } from '../storage/replicas/changes.ts';
import { usageTable } from '../storage/usage-table.ts';
import { ownAllowances } from './allowances.ts';
import { assertKept, type Caller, ceilings, type QuotaSource } from './ceilings.ts';
import type { Quota } from './quota.ts';
import { type Rates, ratesOf } from './rates.ts';
import { sharedAllowances } from './shared-allowances.ts';
import { type Usage, usageOf } from './usage.ts';

export type Service = {
  readonly rates: Rates;
  readonly usage: Usage;
  readonly assertQuota: QuotaCheck;
  /** Whether the tenant or the key has a quota of this field. */
  hasQuota(keeper: Keeper, field: KeptField): boolean;
  /** The share for the engine: a number for the tenant, its weight, the key's priority. */
  shareOf(caller: Caller): Share;
  close(): Promise<void>;
};

export type ServiceOptions = {
  readonly database: Database;
  /** Quota of every tenant. */
  readonly defaults: Quota;
  readonly source: QuotaSource;
  /** The feed of other servers; left out: there are none. */
  readonly changes?: Changes;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { warn(fields: object, message: string): void; error(fields: object, message: string): void };
};

/** A source without quotas. */
export const noQuotas: QuotaSource = { tenant: () => null, key: () => null };

/**
 * Factor on the priority of background requests: a twentieth of the service of the tenant's others while both want it.
 */
const backgroundPriority = 0.05;

export async function openService(options: ServiceOptions): Promise<Service> {
  const { database, defaults, source, changes = unsharedChanges(), ...around } = options;
  const quotas = ceilings(defaults, source);
  const parts = { table: rateTable(database), ...around };
  const allowances = changes.isShared ? sharedAllowances({ ...parts, owner: changes.id }) : await ownAllowances(parts);
  const rates = ratesOf(quotas, allowances);
  const usage = usageOf({ table: usageTable(database), ...around });
  const flows = new Map<string, number>();

  const flowOf = (tenant: string): number => {
    const flow = flows.get(tenant) ?? flows.size + 1;
    flows.set(tenant, flow);
    return flow;
  };
  return {
    ...{ rates, usage },
    assertQuota(keeper, field, kept) {
      assertKept(quotas.tenantOf(keeper), field, kept.tenant);
      if (kept.key !== undefined) assertKept(quotas.keyOf(keeper), field, kept.key);
    },
    hasQuota: (keeper, field) =>
      quotas.tenantOf(keeper)[field] !== undefined || quotas.keyOf(keeper)[field] !== undefined,
    shareOf(caller) {
      const [tenant, key] = [quotas.tenantOf(caller), quotas.keyOf(caller)];
      const priority = key.priority ?? tenant.priority ?? 1;
      const scale = caller.isBackground ? backgroundPriority : 1;
      return { flow: flowOf(caller.tenant), weight: tenant.weight ?? 1, priority: priority * scale };
    },
    async close() {
      await allowances.close();
      await usage.close();
    },
  };
}
