// Which adapters there are: names, immutable versions, aliases, whose they are, and which content each stands for.
// This file is the contract; the server sees nothing else of the registry. Knows tenants and names; knows no HTTP and
// no tensors' meaning beyond what an upload must satisfy.

import type { Readable } from 'node:stream';
import type { AdapterFiles } from '../core/adapter.ts';
import type { Hyperparameters } from '../protocol/training-messages.ts';

/** `corrupt`: its files are missing or altered; `deleting`: it waits for the last request that uses it. */
export type AdapterState = 'ready' | 'corrupt' | 'deleting';

/** Where a version came from. */
export type AdapterSource = 'upload' | 'load' | 'example' | 'training';

/** One immutable version of an adapter. Times are milliseconds since the epoch. */
export type AdapterVersion = {
  readonly tenant: string;
  readonly name: string;
  /** 1, 2, ...; never used twice, also after a deletion. */
  readonly version: number;
  /** `sha256:<hex>` over config and weights. */
  readonly digest: string;
  /** Of the base model that it was checked against. */
  readonly baseDigest: string;
  /** The largest rank of its pairs; 0 without any. */
  readonly r: number;
  readonly targetModules: readonly string[];
  /** Tokens that it puts before a text, where it has no pairs; left out: it has. */
  readonly virtualTokens?: number;
  readonly parameters: number;
  /** Of adapter_model.safetensors. */
  readonly bytes: number;
  readonly createdAt: number;
  /** Prefix of the key that made it; null on a server without keys. */
  readonly createdBy: string | null;
  readonly source: AdapterSource;
  readonly state: AdapterState;
  /** What is legal and probably not meant: every B is zero, another base model's name in the config. */
  readonly warnings: readonly string[];
  /** `sha256:<hex>` of its own chat template; null: the base model's applies. */
  readonly templateDigest: string | null;
};

/** A name that can be moved: `name:alias`. Several targets split the requests by weight (canary). */
export type AdapterAlias = {
  readonly name: string;
  readonly alias: string;
  readonly targets: readonly AliasTarget[];
  /** Raised by every change; the ETag is made of it. */
  readonly revision: number;
  readonly updatedAt: number;
};
export type AliasTarget = { readonly version: number; readonly weight: number };

/** All that goes by one name: versions newest first, aliases in the order of their names. */
export type NamedAdapter = { readonly versions: readonly AdapterVersion[]; readonly aliases: readonly AdapterAlias[] };

/** A hold on a version: its files stay until `release`, which may be called more than once. */
export type AdapterLease = {
  readonly adapter: AdapterVersion;
  readonly files: AdapterFiles;
  /** Aborted when the version begins to be deleted. Who holds it for longer than one request lets it go then. */
  readonly deleting: AbortSignal;
  release(): void;
};

/** Who makes a version. */
export type Provenance = {
  readonly tenant: string;
  readonly createdBy: string | null;
  readonly source: AdapterSource;
  /** Of a trained one. */
  readonly training?: TrainingRecord;
};

/** How a version was trained: enough to train it again. Files and adapters by digest, since names may go. */
export type TrainingRecord = {
  readonly job: string;
  readonly trainingFile: string;
  readonly validationFile: string | null;
  /** The adapter that it went on from. */
  readonly initial: string | null;
  readonly hyperparameters: Hyperparameters;
  readonly steps: number;
  readonly trainedTokens: number;
  readonly validLoss: number | null;
  /** Thinned, in the order of the steps. */
  readonly curve: readonly { readonly step: number; readonly trainLoss: number; readonly validLoss: number | null }[];
};

/** Files of a new version, on their way in. Whatever is not published is collected, at the latest at the next start. */
export type StagedAdapter = {
  /** Takes adapter_config.json, which a GGUF adapter does not have. Throws `adapter_invalid`, `body_too_large`. */
  config(bytes: Readable | Uint8Array): Promise<void>;
  /** Streams adapter_model.safetensors to disk. Throws `body_too_large`, `storage_full`. */
  weights(bytes: Readable): Promise<void>;
  /**
   * Takes weights that a resumable upload has brought whole, or that a version of the tenant's has with the same
   * config, which comes before. Throws `upload_not_found`.
   */
  uploadedWeights(tenant: string, digest: string): Promise<void>;
  /**
   * Takes a file that came beside the two, or its name alone: its chat template is kept where that is wished for, and
   * what else it would change is said in the version's warnings. Throws `body_too_large`.
   */
  companion(name: string, bytes?: Readable | Uint8Array): Promise<void>;
  /**
   * Rewrites what is in another program's layout (GGUF, mlx-lm) as PEFT's, then checks both files against the base
   * model and makes them a version: durable when it returns. The same content under the same name is the same version;
   * where its files were damaged, these take their place. Throws `adapter_invalid` or `adapter_unsupported` with the
   * field's name, `missing_parameter`, `invalid_parameter` for the name, `storage_full`, `engine_unavailable` where the
   * base model is not known yet.
   */
  publish(name: string, provenance: Provenance): Promise<{ adapter: AdapterVersion; created: boolean }>;
  /** Forgets what was not published, and makes room for another upload. Does nothing after `publish` has succeeded. */
  discard(): Promise<void>;
};

/** Weights that arrive in parts, found again by the digest that their sender announced. */
export type ResumableUpload = { readonly digest: string; readonly offset: number; readonly complete: boolean };

export type AdapterRegistry = {
  /** Throws `too_many_uploads`: a tenant has half of what others leave. */
  stage(tenant: string): Promise<StagedAdapter>;

  /** null where nothing of it is here. `digest` is `sha256:<hex>` of the weights file. */
  uploadOf(tenant: string, digest: string): Promise<ResumableUpload | null>;
  /**
   * Appends from `offset` of `total` bytes; what arrived stays when the connection breaks. At the last byte the digest
   * is checked. Throws `upload_offset_mismatch`, `digest_mismatch`, `body_too_large`, `storage_full`.
   */
  appendUpload(
    tenant: string,
    digest: string,
    part: { readonly offset: number; readonly total: number; readonly bytes: Readable },
  ): Promise<ResumableUpload>;

  /** Newest version of each name, by name, after `after`. */
  list(tenant: string, page: { readonly after: string | null; readonly limit: number }): Promise<AdapterVersion[]>;
  /** The same of all tenants, or of one, by tenant and name. */
  listAll(page: {
    readonly tenant: string | null;
    readonly after: { readonly tenant: string; readonly name: string } | null;
    readonly limit: number;
  }): Promise<AdapterVersion[]>;
  /** Of several names at once; one that is not there is left out. */
  named(tenant: string, names: readonly string[]): Promise<ReadonlyMap<string, NamedAdapter>>;
  /** All versions of a name, newest first. Throws `adapter_not_found`. */
  versions(tenant: string, name: string): Promise<AdapterVersion[]>;
  /**
   * What a reference (`name`, `name@2`, `name:alias`) means, without a hold on it; of a split alias the version with
   * the largest share. Throws `adapter_not_found`, `alias_not_found`.
   */
  find(tenant: string, reference: string): Promise<AdapterVersion>;
  /** A version's own chat template; null: the base model's applies. */
  template(adapter: Pick<AdapterVersion, 'tenant' | 'name' | 'version' | 'templateDigest'>): Promise<string | null>;
  /** How a version was trained; null for one that was not trained here. */
  training(adapter: Pick<AdapterVersion, 'tenant' | 'name' | 'version'>): Promise<TrainingRecord | null>;
  /**
   * The version that a reference means for one request; a split alias draws one. `name` alone is its newest version
   * that is ready. Throws `adapter_not_found`, `alias_not_found`, `adapter_corrupt`, `adapter_deleting`, and
   * `adapter_unsupported` for a version that was made for another base model than the one that runs.
   */
  lease(tenant: string, reference: string): Promise<AdapterLease>;

  aliases(tenant: string, name: string): Promise<AdapterAlias[]>;
  /**
   * @param expected the revision that the caller has seen; 0 says that there is none yet, null takes whatever is there
   * Throws `adapter_not_found` for a version that is not there, `alias_changed`.
   */
  setAlias(
    tenant: string,
    change: {
      readonly name: string;
      readonly alias: string;
      readonly targets: readonly AliasTarget[];
      readonly expected: number | null;
    },
  ): Promise<AdapterAlias>;
  /** Throws `alias_not_found`, `alias_changed`. */
  deleteAlias(tenant: string, name: string, alias: string, expected: number | null): Promise<void>;

  /**
   * Stops admission at once and removes the files when the last lease is gone; `version` null deletes the name whole,
   * with its aliases. Resolves when all is gone. Throws `adapter_not_found`; `invalid_parameter` where an alias still
   * points to the version.
   */
  delete(tenant: string, name: string, version: number | null): Promise<void>;

  /** Resolves when what an earlier process left in the folder is cleared up, or at the end. */
  readonly swept: Promise<void>;
  /** The engine found the content damaged: it is served to nobody from now on. */
  markCorrupt(digest: string): Promise<void>;
  /** Waits for nothing; open leases stay valid until the process ends. */
  close(): Promise<void>;
};
