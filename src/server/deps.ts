// What the server is given. It makes none of these itself, so that a test can pass fakes where main.ts passes real
// ones.

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
  /** Digest of the model's files, `sha256:<hex>`. */
  readonly digest: string;
  /** When this server started, in milliseconds since the epoch. */
  readonly createdAt: number;
};

/** A setting of this server as text; secrets are masked. */
export type ShownSetting = { readonly env: string; readonly shown: string; readonly origin: string };

export type AppDeps = {
  /** Origins whose pages may read answers; `*` allows any, an empty list none. */
  readonly corsOrigins: readonly string[];
  readonly engine: EngineClient;
  readonly tokenizer: Tokenizer;
  readonly model: ModelIdentity;
  /** Resolves where `grammar` compiles; else throws `grammar_invalid` or `grammar_too_complex`. */
  readonly grammars: { check(grammar: Grammar): Promise<void> };
  readonly registry: AdapterRegistry;
  /** Renders chat templates of adapters; null: the base model's template renders all conversations. */
  readonly templates: Pick<TemplateProcess, 'render'> | null;
  readonly merges: Merges;
  /** Counts generated tokens by the weights that generated them. */
  readonly traffic: Traffic;
  /** Starts processes for offline work on weights: exports and analyses. */
  readonly offline: Pick<OfflineClient, 'exportMerged' | 'analyse'>;
  readonly files: TrainingFiles;
  readonly jobs: TrainingJobs;
  readonly batches: Batches;
  /** Folder from below which adapters may be loaded by path; null: loading by path is off. */
  readonly adapterRoot: string | null;
  /** Whether an unknown adapter is loaded from below `adapterRoot` when it is first asked for. */
  readonly adapterResolver: boolean;
  readonly keys: KeyStore;
  readonly tenants: TenantStore;
  readonly audit: AuditLog;
  readonly keptAnswers: KeptAnswers;
  readonly storage: StorageHealth;
  /** Feed of changes from and to the other servers on the same database. */
  readonly changes: Changes;
  /** Exports traces; null where tracing is off. */
  readonly tracing: Tracing | null;
  /** Addresses or networks of proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** Whether /docs and /openapi.json are served. */
  readonly hasDocs: boolean;
  /** Shares, rates and usage of tenants and keys. */
  readonly service: Service;
  /** Time limit of a request that sets no timeout_ms, in milliseconds; null: none. */
  readonly requestTimeoutMs: number | null;
  /** A key with every scope; null where none is configured. */
  readonly adminKey: string | null;
  readonly settings: readonly ShownSetting[];
  readonly metrics: Metrics;
  readonly logger: FastifyBaseLogger;
  readonly clock: Clock;
  /** Makes unique ids for requests and answers. */
  readonly newId: () => string;
  readonly limits: Limits;
};
