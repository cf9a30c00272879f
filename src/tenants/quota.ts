// What a tenant, or one of its keys, may use. Every field is a ceiling that may be left out: then the server's own
// limit holds. This file says what there is; what is counted, and who is refused, is decided where the counting is.

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

/** Naturals; `weight` is above 0 and may have a fraction. */
export type Quota = { readonly [Field in QuotaField]?: number };

/** @returns the quota that is stored as this text; none for null */
export const readQuota = (text: string | null): Quota | null => (text === null ? null : (JSON.parse(text) as Quota));
