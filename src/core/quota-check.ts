// What may be kept of a kind, by tenant. Who keeps it asks; who knows the quotas answers.

export type KeptField = 'adapters' | 'adapter_bytes' | 'files' | 'file_bytes' | 'jobs' | 'training_tokens' | 'merges';

/** Throws `insufficient_quota` where `used`, what is asked for included, is more than the tenant may have. */
export type QuotaCheck = (tenant: string, field: KeptField, used: number) => void;
