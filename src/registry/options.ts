// Options of the registry, made by the composition root.

import type { ModelShape } from '../core/base-model.ts';
import type { Clock, Timers } from '../core/clock.ts';
import type { Limits } from '../core/limits.ts';
import type { Prng } from '../core/prng.ts';
import type { Keeper, KeptField, QuotaCheck } from '../core/quota-check.ts';
import type { Database } from '../storage/database.ts';
import type { Files } from '../storage/files.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import type { Changes } from '../storage/replicas/changes.ts';

/** The base model of this server. */
export type RunningBase = {
  readonly name: string;
  /** `sha256:<hex>`. */
  readonly digest: string;
  /** The model's shape. Throws `engine_unavailable` before the engine is ready for the first time. */
  shape(): ModelShape;
  /** The largest rank that fits the engine's pages; left out: the limit of uploads. */
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
  /** An absolute path, made if it is missing. Only one process may use it. */
  readonly folder: string;
  readonly base: RunningBase;
  readonly check: AdapterCheck;
  /** Checks adapters' own chat templates; left out: they are not kept. */
  readonly templates?: AdapterTemplates;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Draws the version of a request where an alias is split. */
  readonly random: Prng;
  readonly newId: () => string;
  readonly log: RegistryLog;
  readonly limits: RegistryLimits;
  /** Left out: there are no quotas. */
  readonly assertQuota?: QuotaCheck;
  /** Whether the tenant or the key has a quota of this field; left out: `assertQuota` is called for every field. */
  readonly hasQuota?: (keeper: Keeper, field: KeptField) => boolean;
  readonly files: Files;
  /**
   * The store that servers share, and the bytes of it to keep on this disk; left out: contents are only in the folder.
   */
  readonly shared?: { readonly store: ObjectStore; readonly cacheBytes: number };
  /** The feed of other servers; left out: there are none. */
  readonly changes?: Changes;
};

export type AdapterTemplates = {
  /** The base model's template; null: it has none. */
  readonly base: string | null;
  /** Throws `adapter_invalid`, `chat_template_too_slow`. */
  check(template: { readonly tenant: string; readonly source: string }): Promise<void>;
};

/** What the check of an adapter's files found. */
export type CheckedAdapter = {
  readonly r: number;
  readonly parameters: number;
  readonly targetModules: readonly string[];
  /** Number of virtual tokens of an adapter without pairs; left out: it has pairs. */
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
