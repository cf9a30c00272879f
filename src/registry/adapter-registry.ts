// The registry of adapters: names, immutable versions, aliases, their tenants, and the content of each version. This
// file is the contract; the server uses nothing else of the registry. Knows tenants and names; knows no HTTP, and of
// tensors only what an upload must satisfy.

import type { Readable } from 'node:stream';
import type { AdapterFiles } from '../core/adapter.ts';
import type { Hyperparameters } from '../protocol/training-messages.ts';

/** `corrupt`: its files are missing or altered; `deleting`: its deletion waits for the last request that uses it. */
export type AdapterState = 'ready' | 'corrupt' | 'deleting';

/** Where a version came from. */
export type AdapterSource = 'upload' | 'load' | 'example' | 'training';

/** One immutable version of an adapter. Times are milliseconds since the epoch. */
export type AdapterVersion = {
  readonly tenant: string;
  readonly name: string;
  /** 1, 2, ...; a number is never used twice, even after a deletion. */
  readonly version: number;
  /** `sha256:<hex>` over config and weights. */
  readonly digest: string;
  /** Digest of the base model that it was checked against. */
  readonly baseDigest: string;
  /** The largest rank of its pairs; 0 without pairs. */
  readonly r: number;
  readonly targetModules: readonly string[];
  /** Number of virtual tokens before the prompt, for an adapter without pairs; left out: it has pairs. */
  readonly virtualTokens?: number;
  readonly parameters: number;
  /** Bytes of adapter_model.safetensors. */
  readonly bytes: number;
  readonly createdAt: number;
  /** Prefix of the key that made it; null on a server without keys. */
  readonly createdBy: string | null;
  readonly source: AdapterSource;
  readonly state: AdapterState;
  /** What is legal and probably a mistake: every B is zero, the config names another base model. */
  readonly warnings: readonly string[];
  /** `sha256:<hex>` of its own chat template; null: the base model's applies. */
  readonly templateDigest: string | null;
};

/** A movable name, `name:alias`. Several targets split the requests by weight (canary). */
export type AdapterAlias = {
  readonly name: string;
  readonly alias: string;
  readonly targets: readonly AliasTarget[];
  /** Raised by every change; the ETag is made from it. */
  readonly revision: number;
  readonly updatedAt: number;
};
export type AliasTarget = { readonly version: number; readonly weight: number };

/** All versions and aliases of one name: versions newest first, aliases in the order of their names. */
export type NamedAdapter = { readonly versions: readonly AdapterVersion[]; readonly aliases: readonly AdapterAlias[] };

/** A hold on a version: its files stay until `release`, which may be called more than once. */
export type AdapterLease = {
  readonly adapter: AdapterVersion;
  readonly files: AdapterFiles;
  /**
   * Aborted when the version begins to be deleted. A holder that keeps the lease for more than one request releases it
   * then.
   */
  readonly deleting: AbortSignal;
  release(): void;
};

/** Who makes a version, and how. */
export type Provenance = {
  readonly tenant: string;
  readonly createdBy: string | null;
  readonly source: AdapterSource;
  /** How a trained version was made. */
  readonly training?: TrainingRecord;
  /**
   * Whether the version is made only under a name without versions of other makers: of another key, or of another
   * source. False by default.
   */
  readonly onlyOwnName?: boolean;
};

/** The record of a training: enough to repeat it. Files and adapters are digests, since their names may be deleted. */
export type TrainingRecord = {
  readonly job: string;
  readonly trainingFile: string;
  readonly validationFile: string | null;
  /** Digest of the adapter that the training continued from; null: none. */
  readonly initial: string | null;
  readonly hyperparameters: Hyperparameters;
  readonly steps: number;
  readonly trainedTokens: number;
  readonly validLoss: number | null;
  /** Loss curve, thinned, in the order of the steps. */
  readonly curve: readonly { readonly step: number; readonly trainLoss: number; readonly validLoss: number | null }[];
};

/** Files of a new version during its upload. Unpublished files are removed, at the latest at the next start. */
export type StagedAdapter = {
  /** Takes adapter_config.json, which a GGUF adapter does not have. Throws `adapter_invalid`, `body_too_large`. */
  config(bytes: Readable | Uint8Array): Promise<void>;
  /** Streams adapter_model.safetensors to disk. Throws `body_too_large`, `storage_full`. */
  weights(bytes: Readable): Promise<void>;
  /**
   * Takes weights from a complete resumable upload, or from a version of the tenant's with the same config, which must
   * come first. Throws `upload_not_found`.
   */
  uploadedWeights(tenant: string, digest: string): Promise<void>;
  /**
   * Takes a file that came beside the two, or only its name. Its chat template is kept where the server keeps them;
   * what else it would change is named in the version's warnings. Throws `body_too_large`.
   */
  companion(name: string, bytes?: Readable | Uint8Array): Promise<void>;
  /**
   * Rewrites another program's layout (GGUF, mlx-lm) as PEFT's, checks both files against the base model, and makes
   * them a version, durable when it returns. The same content under the same name gives the same version; these files
   * replace damaged ones. Throws `adapter_invalid` or `adapter_unsupported` with the field's name, `missing_parameter`,
   * `invalid_parameter` for the name, `insufficient_permissions` where `onlyOwnName` forbids it, `storage_full`, and
   * `engine_unavailable` where the base model's shape is not known yet.
   */
  publish(name: string, provenance: Provenance): Promise<{ adapter: AdapterVersion; created: boolean }>;
  /** Removes what was not published, and frees the upload's place. Does nothing after `publish` has succeeded. */
  discard(): Promise<void>;
};

/** Weights that are uploaded in parts, under the digest that the sender announced. */
export type ResumableUpload = { readonly digest: string; readonly offset: number; readonly complete: boolean };

export type AdapterRegistry = {
  /** Begins an upload. Throws `too_many_uploads`: a tenant may use half of the places that others leave. */
  stage(tenant: string): Promise<StagedAdapter>;

  /** State of an upload; null: none. `digest` is `sha256:<hex>` of the weights file. */
  uploadOf(tenant: string, digest: string): Promise<ResumableUpload | null>;
  /**
   * Appends from `offset` of `total` bytes. Bytes that arrived stay when the connection breaks. The last byte leads to
   * a check of the digest. Throws `upload_offset_mismatch`, `digest_mismatch`, `body_too_large`, `storage_full`.
   */
  appendUpload(
    tenant: string,
    digest: string,
    part: { readonly offset: number; readonly total: number; readonly bytes: Readable },
  ): Promise<ResumableUpload>;

  /** Version that each name alone means, by name, after `after`. */
  list(tenant: string, page: { readonly after: string | null; readonly limit: number }): Promise<AdapterVersion[]>;
  /** The same versions of all tenants or of one, by tenant and name. */
  listAll(page: {
    readonly tenant: string | null;
    readonly after: { readonly tenant: string; readonly name: string } | null;
    readonly limit: number;
  }): Promise<AdapterVersion[]>;
  /** Versions and aliases of several names; missing names are left out. */
  named(tenant: string, names: readonly string[]): Promise<ReadonlyMap<string, NamedAdapter>>;
  /** All versions of a name, newest first. Throws `adapter_not_found`. */
  versions(tenant: string, name: string): Promise<AdapterVersion[]>;
  /**
   * The version that a reference (`name`, `name@2`, `name:alias`) means, without a lease; of a split alias the one with
   * the largest share. Throws `adapter_not_found`, `alias_not_found`.
   */
  find(tenant: string, reference: string): Promise<AdapterVersion>;
  /** A version's own chat template; null: the base model's applies. */
  template(adapter: Pick<AdapterVersion, 'tenant' | 'name' | 'version' | 'templateDigest'>): Promise<string | null>;
  /** The record of a version's training; null: it was not trained here. */
  training(adapter: Pick<AdapterVersion, 'tenant' | 'name' | 'version'>): Promise<TrainingRecord | null>;
  /**
   * Leases the version that a reference means for one request; a split alias draws one. `name` alone is its newest
   * ready version. Throws `adapter_not_found`, `alias_not_found`, `adapter_corrupt`, `adapter_deleting`, and
   * `adapter_unsupported` for a version that was made for another base model than the server's.
   */
  lease(tenant: string, reference: string): Promise<AdapterLease>;

  aliases(tenant: string, name: string): Promise<AdapterAlias[]>;
  /**
   * Sets an alias. Throws `adapter_not_found` for a missing version, `alias_changed`.
   * @param expected the revision that the caller has seen; 0: the alias must be new; null: not checked
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
   * Admits no new requests from now on, and removes the files after the last lease; `version` null deletes the whole
   * name with its aliases. Resolves when all is gone. Throws `adapter_not_found`, and `invalid_parameter` where an
   * alias points to the version.
   */
  delete(tenant: string, name: string, version: number | null): Promise<void>;

  /** Resolves when what an earlier process left in the folder is cleared up, or when the server ends. */
  readonly swept: Promise<void>;
  /** Marks a content as damaged, which the engine found: none of its versions is served from now on. */
  markCorrupt(digest: string): Promise<void>;
  /** Closes the registry without waiting for leases, which stay valid until the process ends. */
  close(): Promise<void>;
};
