// What may be kept of a kind, by tenant and by the key that brought it. Who keeps it asks; who knows quotas answers.

export type KeptField = 'adapters' | 'adapter_bytes' | 'files' | 'file_bytes' | 'jobs' | 'training_tokens' | 'merges';

export type Keeper = {
  readonly tenant: string;
  /** The key that asks; null: none, or it is not known. */
  readonly keyPrefix: string | null;
};

/** What is asked for included. */
export type Kept = {
  readonly tenant: number;
  /** Of that, what this key brought; left out: nobody counts it by key. */
  readonly key?: number;
};

/** Throws `insufficient_quota` where it is more than the tenant, or the key, may have. */
export type QuotaCheck = (keeper: Keeper, field: KeptField, kept: Kept) => void;
