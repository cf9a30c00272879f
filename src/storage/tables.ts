// The tables as they are after the last migration. Times are milliseconds since the epoch.

import type { Generated, Selectable } from 'kysely';

export type Tables = {
  keys: KeyRow;
  adapter_names: AdapterNameRow;
  adapters: AdapterRow;
  aliases: AliasRow;
  alias_targets: AliasTargetRow;
  merges: MergeRow;
  files: FileTable;
  jobs: JobTable;
  job_events: JobEventRow;
  job_checkpoints: JobCheckpointRow;
  adapter_trainings: AdapterTrainingRow;
  usage: UsageRow;
  rate_levels: RateLevelRow;
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
type FileTable = {
  /** The order of arrival, which lists go by. */
  seq: Generated<number>;
  id: string;
  tenant: string;
  created_at: number;
  created_by: string | null;
  filename: string;
  purpose: string;
  bytes: number;
  /** `sha256:<hex>` of the bytes; also says where they lie. */
  digest: string;
  rows: number;
};
export type FileRow = Selectable<FileTable>;

type JobTable = {
  seq: Generated<number>;
  id: string;
  tenant: string;
  state: string;
  created_at: number;
  /** When it last began to wait. */
  queued_at: number;
  /** When it was last taken from the queue. */
  started_at: number | null;
  finished_at: number | null;
  training_file: string;
  validation_file: string | null;
  /** JSON: what was asked for, every choice made. Never changes. */
  spec: string;
  /** JSON: how far it came. */
  progress: string;
  /** Number of its last event, raised only: one that is taken back does not give its number to another. */
  last_event: Generated<number>;
  /** JSON: the trainer's last word; there before the adapter is, and published again until it is. */
  outcome: string | null;
  /** `name@version`. */
  adapter: string | null;
  /** JSON: code, message, parameter. */
  error: string | null;
};
export type JobRow = Selectable<JobTable>;

export type JobEventRow = {
  job: string;
  /** 1, 2, ... in each job. Old steps are thinned, so that there are gaps. */
  seq: number;
  created_at: number;
  level: string;
  message: string;
  /** Of metrics; null for a message. */
  step: number | null;
  /** JSON. */
  data: string | null;
};

export type JobCheckpointRow = {
  job: string;
  step: number;
  created_at: number;
  train_loss: number | null;
  valid_loss: number | null;
  /** What the checkpoint's adapter is called. */
  adapter: string;
};

/** How a version was trained. */
export type AdapterTrainingRow = { tenant: string; name: string; version: number; record: string };

/** What one tenant used of one adapter in one minute. */
export type UsageRow = {
  tenant: string;
  /** Since the epoch. */
  minute: number;
  /** Digests of what was applied, joined by `+`; empty: the base model, or training. */
  adapter: string;
  requests: number;
  prompt_tokens: number;
  /** Of the prompt tokens, those that were not computed again. */
  cached_tokens: number;
  completion_tokens: number;
  trained_tokens: number;
};

export type RateLevelRow = {
  /** `tenant <name> requests`, `key <prefix> tokens`, ... */
  id: string;
  /** What was left at that time; below 0 is a debt. */
  level: number;
  at: number;
};
