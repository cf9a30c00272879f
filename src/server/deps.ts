// What the server is given. It makes none of these itself, so that a test passes fakes and main.ts the real ones.

import type { FastifyBaseLogger } from 'fastify';
import type { Clock } from '../core/clock.ts';
import type { Grammar } from '../core/grammar.ts';
import type { Limits } from '../core/limits.ts';
import type { Batches } from '../jobs/batches/batches.ts';
import type { Merges } from '../jobs/merges/merges.ts';
import type { Traffic } from '../jobs/merges/traffic.ts';
import type { TrainingFiles } from '../jobs/training-files.ts';
import type { TrainingJobs } from '../jobs/training-jobs.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { EngineClient } from '../protocol/engine-client.ts';
import type { OfflineClient } from '../protocol/offline-process.ts';
import type { AdapterRegistry } from '../registry/adapter-registry.ts';
import type { StorageHealth } from '../storage/health.ts';
import type { Changes } from '../storage/replicas/changes.ts';
import type { TemplateProcess } from '../templates/template-process.ts';
import type { AuditLog } from '../tenants/audit.ts';
import type { KeptAnswers } from '../tenants/kept-answers.ts';
import type { KeyStore } from '../tenants/keys.ts';
import type { Service } from '../tenants/service.ts';
import type { TenantStore } from '../tenants/tenants.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Tracing } from '../tracing/tracing.ts';

/** The base model as clients see it. */
export type ModelIdentity = {
  readonly name: string;
  /** `sha256:<hex>`. */
  readonly digest: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
};

/** A setting of this server, its secrets masked. */
export type Setting = { readonly env: string; readonly shown: string; readonly origin: string };

export type AppDeps = {
  /** Origins whose pages may read answers; `*` for any, none for none. */
  readonly corsOrigins: readonly string[];
  readonly engine: EngineClient;
  readonly tokenizer: Tokenizer;
  readonly model: ModelIdentity;
  /** Whether an output can have this grammar: throws `grammar_invalid` or `grammar_too_complex`. */
  readonly grammars: { check(grammar: Grammar): Promise<void> };
  readonly registry: AdapterRegistry;
  /** Renders chat templates that adapters brought along; null: the base model's renders all conversations. */
  readonly templates: Pick<TemplateProcess, 'render'> | null;
  readonly merges: Merges;
  /** Counts what is generated on which weights. */
  readonly traffic: Traffic;
  /** Work on weights beside serving, a process each. */
  readonly offline: Pick<OfflineClient, 'exportMerged' | 'analyse'>;
  readonly files: TrainingFiles;
  readonly jobs: TrainingJobs;
  readonly batches: Batches;
  /** Adapters may be loaded by path from below this folder; null: by none. */
  readonly adapterRoot: string | null;
  /** An adapter below it that is not there yet is loaded when it is first asked for. */
  readonly adapterResolver: boolean;
  readonly keys: KeyStore;
  readonly tenants: TenantStore;
  readonly audit: AuditLog;
  readonly keptAnswers: KeptAnswers;
  readonly storage: StorageHealth;
  /** Servers beside this one. */
  readonly changes: Changes;
  /** null: nothing is traced. */
  readonly tracing: Tracing | null;
  /** Addresses or networks of proxies whose X-Forwarded-For is believed; none: nobody's. */
  readonly trustedProxies: readonly string[];
  /** Whether /docs and /openapi.json are served. */
  readonly hasDocs: boolean;
  /** Shares, rates and usage of tenants and keys. */
  readonly service: Service;
  /** Of a request that says none; null: it waits as long as it takes. */
  readonly requestTimeoutMs: number | null;
  /** Has every scope; null where none is configured. */
  readonly adminKey: string | null;
  readonly settings: readonly Setting[];
  readonly metrics: Metrics;
  readonly logger: FastifyBaseLogger;
  readonly clock: Clock;
  /** Unique ids for requests and answers. */
  readonly newId: () => string;
  readonly limits: Limits;
};
