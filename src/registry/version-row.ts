// Converts between a version and its row.

import type { AdapterRow } from '../storage/tables.ts';
import type { AdapterSource, AdapterState, AdapterVersion } from './adapter-registry.ts';

export function toRow(adapter: Omit<AdapterVersion, 'version'>, baseName: string): Omit<AdapterRow, 'version'> {
  return {
    tenant: adapter.tenant,
    name: adapter.name,
    digest: adapter.digest,
    base_digest: adapter.baseDigest,
    base_name: baseName,
    r: adapter.r,
    target_modules: adapter.targetModules.join(' '),
    virtual_tokens: adapter.virtualTokens ?? 0,
    parameters: adapter.parameters,
    bytes: adapter.bytes,
    created_at: adapter.createdAt,
    created_by: adapter.createdBy,
    source: adapter.source,
    state: adapter.state,
    warnings: JSON.stringify(adapter.warnings),
    template_digest: adapter.templateDigest,
  };
}

export function fromRow(row: AdapterRow): AdapterVersion {
  return {
    tenant: row.tenant,
    name: row.name,
    version: row.version,
    digest: row.digest,
    baseDigest: row.base_digest,
    r: row.r,
    targetModules: row.target_modules.split(' ').filter((module) => module !== ''),
    ...(row.virtual_tokens > 0 && { virtualTokens: row.virtual_tokens }),
    parameters: row.parameters,
    bytes: row.bytes,
    createdAt: row.created_at,
    createdBy: row.created_by,
    source: row.source as AdapterSource,
    state: row.state as AdapterState,
    warnings: JSON.parse(row.warnings) as string[],
    templateDigest: row.template_digest,
  };
}
