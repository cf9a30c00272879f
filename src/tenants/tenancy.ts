// Keys, tenants, the audit log and kept answers over one database.

import type { Clock } from '../core/clock.ts';
import { auditTable } from '../storage/audit-table.ts';
import type { Database } from '../storage/database.ts';
import { keyTable } from '../storage/key-table.ts';
import { type Changes, unsharedChanges } from '../storage/replicas/changes.ts';
import { tenantTable } from '../storage/tenant-table.ts';
import { type AuditLog, auditLog } from './audit.ts';
import { type KeptAnswers, openKeptAnswers } from './kept-answers.ts';
import { type KeyStore, keyStore } from './keys.ts';
import { openTenants, type TenantStore } from './tenants.ts';

export type Tenancy = {
  readonly keys: KeyStore;
  readonly tenants: TenantStore;
  readonly audit: AuditLog;
  readonly keptAnswers: KeptAnswers;
};

export async function openTenancy(
  database: Database,
  clock: Clock,
  changes: Changes = unsharedChanges(),
): Promise<Tenancy> {
  const table = keyTable(database);
  return {
    keys: keyStore(table, clock, changes),
    tenants: await openTenants(tenantTable(database), table, clock, changes),
    audit: auditLog(auditTable(database), clock),
    keptAnswers: await openKeptAnswers(database, clock, changes),
  };
}
