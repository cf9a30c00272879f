// The question whether a tenant, or the key that asks, may keep more of a kind. The code that keeps things asks; the
// code that knows quotas answers.

export type KeptField = 'adapters' | 'adapter_bytes' | 'files' | 'file_bytes' | 'jobs' | 'training_tokens' | 'merges';

export type Keeper = {
  readonly tenant: string;
  /** Prefix of the key that asks; null: there is none, or it is not known. */
  readonly keyPrefix: string | null;
};

/** Amounts after the change that is asked about. */
export type Kept = {
  readonly tenant: number;
  /** The key's part of the tenant's amount; left out: this kind is not counted by key. */
  readonly key?: number;
};

/** Throws `insufficient_quota` where the tenant or the key would keep more than it may. */
export type QuotaCheck = (keeper: Keeper, field: KeptField, kept: Kept) => void;
