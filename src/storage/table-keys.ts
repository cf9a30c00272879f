// All tables with the columns of their primary keys, each after the tables that it refers to.

import type { Tables } from './tables.ts';

export type TableName = keyof Tables;

export const tableKeys = {
  installation: ['id'],
  keys: ['prefix'],
  tenants: ['name'],
  audit: ['seq'],
  kept_answers: ['tenant', 'idempotency_key'],
  adapter_names: ['tenant', 'name'],
  adapters: ['tenant', 'name', 'version'],
  adapter_trainings: ['tenant', 'name', 'version'],
  adapter_templates: ['tenant', 'name', 'version'],
  aliases: ['tenant', 'name', 'alias'],
  alias_targets: ['tenant', 'name', 'alias', 'version'],
  merges: ['tenant', 'merge_key'],
  files: ['seq'],
  jobs: ['seq'],
  job_events: ['job', 'seq'],
  job_checkpoints: ['job', 'step'],
  batches: ['seq'],
  batch_answers: ['batch', 'line'],
  usage: ['tenant', 'minute', 'adapter'],
  rate_levels: ['id'],
  changes: ['seq'],
  replicas: ['id'],
} satisfies { readonly [T in TableName]: readonly (keyof Tables[T])[] };

/** Tables whose `seq` the database itself counts. */
export const countedTables: readonly TableName[] = ['audit', 'files', 'jobs', 'batches', 'changes'];
