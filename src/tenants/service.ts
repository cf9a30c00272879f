// What a tenant and a key have of this server: their share of the engine, their rates, how many sequences they run,
// what they have used. One object for the routes. Knows no HTTP.

import type { Clock, Timers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import type { Keeper, KeptField, QuotaCheck } from '../core/quota-check.ts';
import type { Share } from '../core/share.ts';
import type { Database } from '../storage/database.ts';
import { rateTable } from '../storage/rate-table.ts';
import { usageTable } from '../storage/usage-table.ts';
import { assertKept, type Caller, ceilings, type QuotaSource } from './ceilings.ts';
import type { Quota } from './quota.ts';
import { openRates, type Rates } from './rates.ts';
import { type Usage, usageOf } from './usage.ts';

export type Service = {
  readonly rates: Rates;
  readonly usage: Usage;
  readonly assertQuota: QuotaCheck;
  /** Whether the tenant or the key has a quota of it. */
  hasQuota(keeper: Keeper, field: KeptField): boolean;
  /** For the engine: a number for the tenant, its weight, the key's priority. */
  shareOf(caller: Caller): Share;
  /**
   * Counts sequences from their submission to their end. Throws `rate_limit_exceeded` where the tenant or the key has
   * too many. @returns what ends one of them
   */
  begin(caller: Caller, sequences: number): () => void;
  close(): Promise<void>;
};

export type ServiceOptions = {
  readonly database: Database;
  /** Of every tenant. */
  readonly defaults: Quota;
  readonly source: QuotaSource;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { warn(fields: object, message: string): void; error(fields: object, message: string): void };
};

/** Nothing was decided of anybody. */
export const noQuotas: QuotaSource = { tenant: () => null, key: () => null };

/** Against a tenant's other requests: a twentieth of their service while both want it. */
const backgroundPriority = 0.05;

/** Said to who has too many sequences: one that ends makes room, which nobody can foretell. */
const retrySeconds = 1;

export async function openService({ database, defaults, source, ...around }: ServiceOptions): Promise<Service> {
  const quotas = ceilings(defaults, source);
  const rates = await openRates({ table: rateTable(database), ceilings: quotas, ...around });
  const usage = usageOf({ table: usageTable(database), ...around });
  const flows = new Map<string, number>();
  const running = new Map<string, number>();

  const flowOf = (tenant: string): number => {
    const flow = flows.get(tenant) ?? flows.size + 1;
    flows.set(tenant, flow);
    return flow;
  };
  const change = (id: string, by: number) => {
    const count = (running.get(id) ?? 0) + by;
    if (count > 0) running.set(id, count);
    else running.delete(id);
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
    begin(caller, sequences) {
      const owners = [
        { id: `tenant ${caller.tenant}`, most: quotas.tenantOf(caller).concurrent_sequences },
        { id: `key ${caller.keyPrefix}`, most: quotas.keyOf(caller).concurrent_sequences },
      ].filter(({ most }) => most !== undefined);
      for (const { id, most } of owners) {
        if ((running.get(id) ?? 0) + sequences <= most!) continue;
        const message = `Your limit is ${most} sequences at once.`;
        throw new LorikeetError('rate_limit_exceeded', { message, retryAfterSeconds: retrySeconds });
      }
      for (const { id } of owners) change(id, sequences);
      return () => {
        for (const { id } of owners) change(id, -1);
      };
    },
    async close() {
      await rates.close();
      await usage.close();
    },
  };
}
