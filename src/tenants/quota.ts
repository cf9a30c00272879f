// What a tenant, or one of its keys, may use. Every field is a ceiling; without one the server's own limit holds. This
// file defines the fields; counting and refusing happen elsewhere.

export const quotaFields = [
  'requests_per_minute',
  'tokens_per_minute',
  'changes_per_minute',
  'concurrent_sequences',
  'weight',
  'priority',
  'adapters',
  'adapter_bytes',
  'files',
  'file_bytes',
  'jobs',
  'training_tokens',
  'merges',
] as const;
export type QuotaField = (typeof quotaFields)[number];

/** Natural numbers; `weight` and `priority` are above 0 and may have a fraction. */
export type Quota = { readonly [Field in QuotaField]?: number };

/** @returns the stored quota; null for null */
export const readQuota = (text: string | null): Quota | null => (text === null ? null : (JSON.parse(text) as Quota));
