// Gives keys, tenants and entries of the audit log the shapes of HTTP. Times become seconds.

import type { AuditEntry } from '../../tenants/audit.ts';
import type { KeyRecord } from '../../tenants/keys.ts';
import type { Tenant } from '../../tenants/tenants.ts';
import { epochSeconds, epochSecondsOrNull } from '../http/epoch-seconds.ts';
import type { Key, Tenant as TenantJson } from '../schemas/operation.ts';

export const keyJson = (record: KeyRecord): Key => ({
  id: record.prefix,
  object: 'key',
  tenant: record.tenant,
  name: record.name,
  scopes: [...record.scopes],
  adapters: record.adapters === null ? null : [...record.adapters],
  quota: record.quota,
  created_at: epochSeconds(record.createdAt),
  created_by: record.createdBy,
  expires_at: epochSecondsOrNull(record.expiresAt),
  revoked_at: epochSecondsOrNull(record.revokedAt),
  last_used_at: epochSecondsOrNull(record.lastUsedAt),
  last_ip: record.lastIp,
  replaced_by: record.replacedBy,
});

export const tenantJson = ({ name, createdAt, disabledAt, quota }: Tenant): TenantJson => ({
  id: name,
  object: 'tenant',
  created_at: epochSecondsOrNull(createdAt),
  disabled_at: epochSecondsOrNull(disabledAt),
  quota,
});

export const auditJson = ({ seq, at, requestId, ...entry }: AuditEntry) => ({
  id: String(seq),
  object: 'audit_entry' as const,
  at: at / 1000,
  request_id: requestId,
  ...entry,
});
