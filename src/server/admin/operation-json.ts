// Gives keys, tenants and entries of the audit log the shapes of HTTP. Times become seconds.

import type { AuditEntry } from '../../tenants/audit.ts';
import type { KeyRecord } from '../../tenants/keys.ts';
import type { Tenant } from '../../tenants/tenants.ts';
import type { Key, Tenant as TenantJson } from '../schemas/operation.ts';

const seconds = (ms: number | null) => (ms === null ? null : Math.floor(ms / 1000));

export const keyJson = (record: KeyRecord): Key => ({
  id: record.prefix,
  object: 'key',
  tenant: record.tenant,
  name: record.name,
  scopes: [...record.scopes],
  adapters: record.adapters === null ? null : [...record.adapters],
  quota: record.quota,
  created_at: seconds(record.createdAt)!,
  created_by: record.createdBy,
  expires_at: seconds(record.expiresAt),
  revoked_at: seconds(record.revokedAt),
  last_used_at: seconds(record.lastUsedAt),
  last_ip: record.lastIp,
  replaced_by: record.replacedBy,
});

export const tenantJson = ({ name, createdAt, disabledAt, quota }: Tenant): TenantJson => ({
  id: name,
  object: 'tenant',
  created_at: seconds(createdAt),
  disabled_at: seconds(disabledAt),
  quota,
});

export const auditJson = ({ seq, at, requestId, ...entry }: AuditEntry) => ({
  id: String(seq),
  object: 'audit_entry' as const,
  at: at / 1000,
  request_id: requestId,
  ...entry,
});
