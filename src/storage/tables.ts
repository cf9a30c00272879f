// The tables as they are after the last migration. Times are milliseconds since the epoch.

import type { Generated, Selectable } from 'kysely';

export type Tables = {
  installation: { id: string; created_at: number };
  keys: KeyRow;
  tenants: TenantRow;
  audit: AuditTable;
  kept_answers: KeptAnswerRow;
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
  adapter_templates: AdapterTemplateRow;
  usage: UsageRow;
  rate_levels: RateLevelRow;
  batches: BatchesTable;
  batch_answers: BatchAnswerRow;
  changes: ChangesTable;
  replicas: ReplicaRow;
};

type ChangesTable = {
  /** Number in the order of commits. */
  seq: Generated<number>;
  /** Time of the change by the database's clock, milliseconds. */
  at: number;
  /** Kind of what others have to forget or to look at: `adapter`, `key`, ... */
  kind: string;
  tenant: string;
  name: string;
  /** JSON, by kind; null: none. */
  detail: string | null;
};
export type ChangeRow = Selectable<ChangesTable>;

/** A server that uses this database. Times are by the database's clock. */
export type ReplicaRow = {
  id: string;
  started_at: number;
  /** End of its lease, until which others wait for it. */
  expires_at: number;
  /** Number of the last change that its memory reflects. */
  seen: number;
  /** Number of the last change up to which no request there uses what was deleted. */
  drained: number;
  /** JSON that describes the server to people. */
  status: string;
};

export type KeyRow = {
  /** The public half of a key, which finds it. */
  prefix: string;
  /** SHA-256 of the secret half, hex. The secret itself is stored nowhere. */
  secret_hash: string;
  tenant: string;
  name: string;
  /** Space separated. */
  scopes: string;
  created_at: number;
  last_used_at: number | null;
  revoked_at: number | null;
  expires_at: number | null;
  /** Prefix of the key that replaces it. */
  replaced_by: string | null;
  /** Address of the last caller. */
  last_ip: string | null;
  /** A JSON list of names of adapters that it may use; null: all of its tenant. */
  adapters: string | null;
  /** JSON; null: the tenant's quota alone. */
  quota: string | null;
  /** Prefix of the key that made it; null: made on the command line. */
  created_by: string | null;
};

/** A tenant exists by its first key; this row holds an operator's settings of it. */
export type TenantRow = {
  name: string;
  created_at: number;
  /** Since when its keys are refused; null: they are not. */
  disabled_at: number | null;
  /** JSON; null: the server's own limits. */
  quota: string | null;
};

type AuditTable = {
  seq: Generated<number>;
  at: number;
  /** Tenant that owns what was changed. */
  tenant: string;
  /** A key's prefix, `admin`, `anonymous` on a server without keys, `command-line`, or `policy`. */
  actor: string;
  ip: string | null;
  request_id: string | null;
  /** `keys.create`, ... */
  action: string;
  target: string;
  /** JSON of the state before; null: none. */
  before: string | null;
  /** JSON of the state after; null: none. */
  after: string | null;
};
export type AuditRow = Selectable<AuditTable>;

/** The answer to a request that had an Idempotency-Key. */
export type KeptAnswerRow = {
  tenant: string;
  idempotency_key: string;
  /** SHA-256 of method, address and body, hex. */
  request: string;
  created_at: number;
  /** HTTP status; null while the first request is under way. */
  status: number | null;
  /** JSON of the answer's headers. */
  headers: string | null;
  body: string | null;
  /** The replica that works on the request. */
  owner: string | null;
};

/** Counters of a name. The row outlives all versions, so that no version number is used twice. */
export type AdapterNameRow = {
  tenant: string;
  name: string;
  last_version: number;
  /** Shared by the name's aliases: an alias that is deleted and made again does not repeat a revision. */
  last_revision: number;
};

export type AdapterRow = {
  tenant: string;
  name: string;
  version: number;
  /** `sha256:<hex>` over config and weights; also names the folder of the files. */
  digest: string;
  base_digest: string;
  /** Name of the base model at the upload, for messages to people. */
  base_name: string;
  r: number;
  /** Space separated. */
  target_modules: string;
  /** Number of virtual tokens; 0 for an adapter of weights. */
  virtual_tokens: number;
  parameters: number;
  /** Bytes of adapter_model.safetensors. */
  bytes: number;
  created_at: number;
  created_by: string | null;
  source: string;
  state: string;
  /** A JSON list of texts. */
  warnings: string;
  /** Digest of its own chat template; null: the base model's applies. */
  template_digest: string | null;
};

export type AliasRow = { tenant: string; name: string; alias: string; revision: number; updated_at: number };

export type AliasTargetRow = { tenant: string; name: string; alias: string; version: number; weight: number };

export type MergeRow = {
  tenant: string;
  /** Names the weights by digests and scales. */
  merge_key: string;
  /** A JSON list: name, version, digest, scale. */
  adapters: string;
  /** Bits of the merged weights as asked for; null: each linear's own. */
  bits: number | null;
  /** `wanted`, or `failed` until it is asked for again. */
  state: string;
  error_code: string | null;
  error_message: string | null;
  /** 1: the server decided it itself. */
  automatic: number;
  created_at: number;
  created_by: string | null;
  /** JSON of the last merge's figures; null before the first. */
  figures: string | null;
};
type FileTable = {
  /** Number in the order of arrival, which lists follow. */
  seq: Generated<number>;
  id: string;
  tenant: string;
  created_at: number;
  created_by: string | null;
  filename: string;
  purpose: string;
  bytes: number;
  /** `sha256:<hex>` of the bytes; also names the stored file. */
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
  /** JSON of the request with every default filled in. Never changes. */
  spec: string;
  /** JSON of the progress. */
  progress: string;
  /** Number of its last event. It only rises: the number of a deleted event is not used again. */
  last_event: Generated<number>;
  /**
   * JSON of the trainer's last message. Stored before the adapter is published, so that publishing can be tried again.
   */
  outcome: string | null;
  /** The result as `name@version`. */
  adapter: string | null;
  /** JSON of code, message and parameter. */
  error: string | null;
  /** The replica that runs it, or ran it last; null: none. */
  owner: string | null;
  /** How often it was taken by a runner. A runner with a lower epoch can no longer write. */
  epoch: Generated<number>;
};
export type JobRow = Selectable<JobTable>;

export type JobEventRow = {
  job: string;
  /** 1, 2, ... in each job. Metrics of old steps are thinned out, which leaves gaps. */
  seq: number;
  created_at: number;
  level: string;
  message: string;
  /** Step of the metrics; null for a message. */
  step: number | null;
  /** JSON of the step's figures; null for a message. */
  data: string | null;
};

export type JobCheckpointRow = {
  job: string;
  step: number;
  created_at: number;
  train_loss: number | null;
  valid_loss: number | null;
  /** Name of the checkpoint's adapter. */
  adapter: string;
};

/** The record of a version's training, in JSON. */
export type AdapterTrainingRow = { tenant: string; name: string; version: number; record: string };

/** The source of the chat template that a version has of its own. */
export type AdapterTemplateRow = { tenant: string; name: string; version: number; source: string };

/** What one tenant used of one adapter in one minute. */
export type UsageRow = {
  tenant: string;
  /** Minutes since the epoch. */
  minute: number;
  /** Digests of the applied adapters, joined by `+`; empty: the base model, or training. */
  adapter: string;
  requests: number;
  prompt_tokens: number;
  /** Prompt tokens that came from the prefix cache; counted in `prompt_tokens` too. */
  cached_tokens: number;
  completion_tokens: number;
  trained_tokens: number;
};

export type RateLevelRow = {
  /** `tenant <name> requests`, `key <prefix> tokens`, ... */
  id: string;
  /** What was left in the bucket at time `at`, without what servers have leased; below 0 is a debt. */
  level: number;
  at: number;
  /** JSON by server: what it has leased, and until when; null: nothing. */
  leases: string | null;
};

type BatchesTable = {
  seq: Generated<number>;
  id: string;
  tenant: string;
  /**
   * Prefix of the key that made it. Its lines run with that key's scopes, quota and adapters. null on a server without
   * keys.
   */
  created_by: string | null;
  state: string;
  /** Route of every line. */
  endpoint: string;
  input_file: string;
  input_digest: string;
  /** JSON; null: none. */
  metadata: string | null;
  /** JSON: when the batch entered each state. */
  times: string;
  expires_at: number;
  /** Number of lines; 0 until the input was checked. */
  total: Generated<number>;
  completed: Generated<number>;
  failed: Generated<number>;
  output_file: string | null;
  error_file: string | null;
  /** JSON: what is wrong with the input file. */
  errors: string | null;
  /** The replica that answers its lines; null: none yet. */
  owner: string | null;
};
export type BatchRow = Selectable<BatchesTable>;

/** The answer to a line, until the batch is over and its answers are written to files. */
export type BatchAnswerRow = {
  batch: string;
  /** Line of the input file, from 1. */
  line: number;
  /** 1: the answer goes to the file of errors. */
  is_error: number;
  /** The answer's line of output, in JSON. */
  body: string;
};
