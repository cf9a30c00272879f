// The tables as they are after the last migration. Times are milliseconds since the epoch.

export type Tables = {
  keys: KeyRow;
  adapter_names: AdapterNameRow;
  adapters: AdapterRow;
  aliases: AliasRow;
  alias_targets: AliasTargetRow;
  merges: MergeRow;
};

export type KeyRow = {
  /** The public half of a key, which finds it. */
  prefix: string;
  /** SHA-256 of the secret half, hex. The secret itself is nowhere. */
  secret_hash: string;
  tenant: string;
  name: string;
  /** Space separated. */
  scopes: string;
  created_at: number;
  last_used_at: number | null;
  revoked_at: number | null;
};

/** Counters of a name. The row outlives all versions, so that no number is used twice. */
export type AdapterNameRow = {
  tenant: string;
  name: string;
  last_version: number;
  /** Shared by the name's aliases: one that is deleted and made again does not repeat a revision. */
  last_revision: number;
};

export type AdapterRow = {
  tenant: string;
  name: string;
  version: number;
  /** `sha256:<hex>` over config and weights; also says where the files lie. */
  digest: string;
  base_digest: string;
  /** What the base model was called then, for messages to people. */
  base_name: string;
  r: number;
  /** Space separated. */
  target_modules: string;
  parameters: number;
  /** Of adapter_model.safetensors. */
  bytes: number;
  created_at: number;
  created_by: string | null;
  source: string;
  state: string;
  /** A JSON list of texts. */
  warnings: string;
};

export type AliasRow = { tenant: string; name: string; alias: string; revision: number; updated_at: number };

export type AliasTargetRow = { tenant: string; name: string; alias: string; version: number; weight: number };

export type MergeRow = {
  tenant: string;
  /** Says which weights, by digests and scales. */
  merge_key: string;
  /** A JSON list: name, version, digest, scale. */
  adapters: string;
  /** As asked for; null: each linear's own. */
  bits: number | null;
  /** `wanted`, or `failed` until it is asked for again. */
  state: string;
  error_code: string | null;
  error_message: string | null;
  /** 1: made by the server itself. */
  automatic: number;
  created_at: number;
  created_by: string | null;
  /** Of the last time that it was merged, in JSON; null before the first. */
  figures: string | null;
};
