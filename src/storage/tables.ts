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
  /** In the order in which changes were committed. */
  seq: Generated<number>;
  /** By the database's clock. */
  at: number;
  /** What others have to forget or to look at: `adapter`, `key`, ... */
  kind: string;
  tenant: string;
  name: string;
  /** JSON, by kind; null: nothing more to say. */
  detail: string | null;
};
export type ChangeRow = Selectable<ChangesTable>;

/** A server at work on this database. Times are by the database's clock. */
export type ReplicaRow = {
  id: string;
  started_at: number;
  /** Until then the others wait for it. */
  expires_at: number;
  /** The last change that its memory agrees with. */
  seen: number;
  /** The last deletion up to which nobody uses there what is deleted. */
  drained: number;
  /** JSON, for people. */
  status: string;
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
  expires_at: number | null;
  /** Prefix of the key that takes its place. */
  replaced_by: string | null;
  /** Address of the last caller. */
  last_ip: string | null;
  /** A JSON list of adapters' names that it may use; null: all of its tenant. */
  adapters: string | null;
  /** JSON; null: the tenant's. */
  quota: string | null;
  /** Prefix of the key that made it; null: the command line. */
  created_by: string | null;
};

/** A tenant exists by its first key; the row says what was decided of it. */
export type TenantRow = {
  name: string;
  created_at: number;
  /** Its keys are refused from then on. */
  disabled_at: number | null;
  /** JSON; null: the server's own limits. */
  quota: string | null;
};

type AuditTable = {
  seq: Generated<number>;
  at: number;
  /** Whose thing was changed. */
  tenant: string;
  /** A key's prefix, `admin`, `anonymous` on a server without keys, or `command-line`. */
  actor: string;
  ip: string | null;
  request_id: string | null;
  /** `keys.create`, ... */
  action: string;
  target: string;
  /** JSON; null: there was nothing. */
  before: string | null;
  /** JSON; null: there is nothing. */
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
  /** null while the first request is under way. */
  status: number | null;
  /** JSON. */
  headers: string | null;
  body: string | null;
  /** The replica that does what was asked for. */
  owner: string | null;
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
  /** 0: it has pairs. */
  virtual_tokens: number;
  parameters: number;
  /** Of adapter_model.safetensors. */
  bytes: number;
  created_at: number;
  created_by: string | null;
  source: string;
  state: string;
  /** A JSON list of texts. */
  warnings: string;
  /** Of its own chat template; null: the base model's applies. */
  template_digest: string | null;
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
  /** The replica that alone has it, by its own decision; null: every replica has it. */
  owner: string | null;
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
  /** The replica that runs it, or ran it last; null: one before there were several. */
  owner: string | null;
  /** How often it was taken: who took it earlier writes nothing any more. */
  epoch: Generated<number>;
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

/** The chat template that a version brought along. */
export type AdapterTemplateRow = { tenant: string; name: string; version: number; source: string };

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
  /** What was left at that time; below 0 is a debt. Without what servers have taken ahead. */
  level: number;
  at: number;
  /** JSON by server: what it has taken ahead, and until when that is its own; null: nobody has. */
  leases: string | null;
};

type BatchesTable = {
  seq: Generated<number>;
  id: string;
  tenant: string;
  /** Prefix of the key that made it, whose scopes, quota and adapters its lines have; null on a server without keys. */
  created_by: string | null;
  state: string;
  /** Of every line. */
  endpoint: string;
  input_file: string;
  input_digest: string;
  /** JSON; null: none. */
  metadata: string | null;
  /** JSON: when it entered each state. */
  times: string;
  expires_at: number;
  /** Lines; 0 until they were looked at. */
  total: Generated<number>;
  completed: Generated<number>;
  failed: Generated<number>;
  output_file: string | null;
  error_file: string | null;
  /** JSON: what is wrong with its file. */
  errors: string | null;
  /** The replica that answers its lines; null: none yet. */
  owner: string | null;
};
export type BatchRow = Selectable<BatchesTable>;

/** The answer to a line, until the batch is over and its answers are files. */
export type BatchAnswerRow = {
  batch: string;
  /** Of the input file, from 1. */
  line: number;
  /** 1: it stands in the file of errors. */
  is_error: number;
  /** A line of the output, in JSON. */
  body: string;
};
