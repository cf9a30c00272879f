// What the registry is given. It makes none of these itself.

import type { ModelShape } from '../core/base-model.ts';
import type { Clock, Timers } from '../core/clock.ts';
import type { Limits } from '../core/limits.ts';
import type { Prng } from '../core/prng.ts';
import type { Keeper, KeptField, QuotaCheck } from '../core/quota-check.ts';
import type { Database } from '../storage/database.ts';
import type { Files } from '../storage/files.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import type { Changes } from '../storage/replicas/changes.ts';

/** The base model that runs here. */
export type RunningBase = {
  readonly name: string;
  /** `sha256:<hex>`. */
  readonly digest: string;
  /** Known once the engine was ready. Throws `engine_unavailable` before. */
  shape(): ModelShape;
  /** The largest rank that the engine's pages hold; left out: any that an upload may have. */
  rankMax?(): number;
};

export type RegistryLimits = Pick<
  Limits,
  | 'adapterConfigBytes'
  | 'adapterWeightsBytes'
  | 'uploads'
  | 'uploadsKept'
  | 'uploadKeptMs'
  | 'quarantineMs'
  | 'versionsKept'
  | 'contentsTrusted'
  | 'aliases'
  | 'aliasTargets'
>;

export type RegistryLog = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

export type RegistryOptions = {
  readonly database: Database;
  /** Absolute; made if it is missing. Only one process may use it. */
  readonly folder: string;
  readonly base: RunningBase;
  readonly check: AdapterCheck;
  /** Chat templates that adapters bring along; left out: they are not kept. */
  readonly templates?: AdapterTemplates;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Draws the version of a request where an alias is split. */
  readonly random: Prng;
  readonly newId: () => string;
  readonly log: RegistryLog;
  readonly limits: RegistryLimits;
  /** Left out: nobody has a quota. */
  readonly assertQuota?: QuotaCheck;
  /** Whether the tenant or the key has one; left out: it is asked for whatever it says. */
  readonly hasQuota?: (keeper: Keeper, field: KeptField) => boolean;
  readonly files: Files;
  /** Where contents are that other servers share, and how much of it is kept here; left out: the folder has them. */
  readonly shared?: { readonly store: ObjectStore; readonly cacheBytes: number };
  /** Servers beside this one; left out: there are none. */
  readonly changes?: Changes;
};

export type AdapterTemplates = {
  /** The base model's own; null: it has none. */
  readonly base: string | null;
  /** Throws `adapter_invalid`, `chat_template_too_slow`. */
  check(template: { readonly tenant: string; readonly source: string }): Promise<void>;
};

/** What an adapter's files say once they were checked against the base model. */
export type CheckedAdapter = {
  readonly r: number;
  readonly parameters: number;
  readonly targetModules: readonly string[];
  /** Of an adapter that has no pairs; left out: it has. */
  readonly virtualTokens?: number;
  readonly warnings: readonly string[];
};

/** adapter_model.safetensors, read in parts. */
export type WeightsReader = { readonly bytes: number; read(offset: number, bytes: number): Uint8Array };

/** Throws `adapter_invalid` or `adapter_unsupported`. */
export type AdapterCheck = (
  config: Uint8Array,
  weights: WeightsReader,
  base: RunningBase,
) => CheckedAdapter | Promise<CheckedAdapter>;
