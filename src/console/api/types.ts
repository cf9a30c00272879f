// The types of answers are those of the server's schemas, so that a change of a schema is a type error here.

export type { Adapter, AdapterWithProvenance, Provenance } from '../../server/schemas/adapters.ts';
export type { Alias } from '../../server/schemas/aliases.ts';
export type { FileObject } from '../../server/schemas/files.ts';
export type { Checkpoint, Job, JobEvent } from '../../server/schemas/fine-tuning.ts';
export type { GenerateAnswer, GenerateBody } from '../../server/schemas/generate.ts';
export type { Readiness } from '../../server/schemas/health.ts';
export type { Merge, MergeBody, MergeList } from '../../server/schemas/merges.ts';
export type { ModelCard } from '../../server/schemas/models.ts';
export type { Analysis, LinearAnalysis, ModuleSummary } from '../../server/schemas/offline.ts';
export type { AuditEntry, Key, NewKey, Tenant } from '../../server/schemas/operation.ts';
export type { Replica } from '../../server/schemas/replicas.ts';
export type { Setting } from '../../server/schemas/settings.ts';
export type { Usage } from '../../server/schemas/usage.ts';
