// API keys and quotas at the server's start.

import type { Config } from '../config.ts';
import { systemClock, systemTimers } from '../core/clock.ts';
import type { Logger } from '../server/http/logger.ts';
import { isLoopback } from '../server/http/loopback.ts';
import type { Database } from '../storage/database.ts';
import { closeForGood, readIdentity } from '../storage/identity.ts';
import type { Changes } from '../storage/replicas/changes.ts';
import { parseQuota } from '../tenants/ceilings.ts';
import { closeOrStayOpen } from '../tenants/first-key.ts';
import { openService, type Service } from '../tenants/service.ts';
import type { Tenancy } from '../tenants/tenancy.ts';
import type { StartReport } from './start-report.ts';

/**
 * Decides whether the server is open to callers without a key, and records when it closes.
 * @returns whether callers need a key
 */
export async function closeOrOpen(config: Config, { keys }: Tenancy, report: StartReport): Promise<boolean> {
  const hasKeys = await closeOrStayOpen({
    keys,
    hasAdminKey: config.adminKey !== null,
    isLoopback: isLoopback(config.host),
    wasClosed: readIdentity(config.dataDir)?.isClosed ?? false,
    announce: (key) => report.line(`The operator's key, shown this once: ${key}`),
  });
  if (hasKeys) closeForGood(config.dataDir);
  return hasKeys;
}

type ServiceParts = {
  readonly database: Database;
  readonly changes: Changes;
  readonly tenancy: Tenancy;
  readonly logger: Logger;
};

/** Opens the service, which enforces the quotas of tenants and keys. */
export function startService(
  { tenantQuota }: Config,
  { database, changes, tenancy, logger: log }: ServiceParts,
): Promise<Service> {
  const defaults = parseQuota(tenantQuota, 'LORIKEET_TENANT_QUOTA');
  const source = { tenant: tenancy.tenants.quotaOf, key: tenancy.keys.quotaOf };
  return openService({ database, defaults, source, changes, clock: systemClock, timers: systemTimers, log });
}
