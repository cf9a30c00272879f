// Files of rows to train on and of requests to answer, and what jobs and batches leave: whose they are and where their
// bytes lie. This file is the contract; the server sees nothing else of them.

import type { Readable } from 'node:stream';

export type UploadPurpose = 'fine-tune' | 'batch';
export type FilePurpose = UploadPurpose | 'fine-tune-results' | 'batch_output';

/** Immutable. Times are milliseconds since the epoch. */
export type TrainingFile = {
  readonly id: string;
  readonly tenant: string;
  readonly createdAt: number;
  /** Prefix of the key that brought it; null on a server without keys, and for what a job left. */
  readonly createdBy: string | null;
  readonly filename: string;
  readonly purpose: FilePurpose;
  readonly bytes: number;
  /** `sha256:<hex>`. */
  readonly digest: string;
  /** Rows to train on, or lines of a batch. */
  readonly rows: number;
};

export type StagedTrainingFile = {
  /**
   * Takes the bytes and looks at each line as it comes. Throws `body_too_large`, `storage_full`, and `file_invalid`
   * with the lines that cannot be trained on, if that is what the file is for.
   * @param purpose null: it is not known yet; `publish` may throw `file_invalid` then. Lines of a batch are looked at
   * when the batch is made.
   */
  rows(bytes: Readable, purpose: UploadPurpose | null): Promise<void>;
  /** Durable when it returns. Throws `missing_parameter` where no bytes came, `storage_full`. */
  publish(about: {
    readonly tenant: string;
    readonly createdBy: string | null;
    readonly filename: string;
    readonly purpose: UploadPurpose;
  }): Promise<TrainingFile>;
  /** Forgets what was not published. Does nothing after `publish` has succeeded. */
  discard(): Promise<void>;
};

export type FilePage = {
  readonly purposes: readonly FilePurpose[];
  readonly after: string | null;
  readonly limit: number;
  readonly newestFirst: boolean;
};

export type TrainingFiles = {
  /** Throws `too_many_uploads`: too many at once, or this tenant has too many already. */
  stage(tenant: string): Promise<StagedTrainingFile>;
  list(tenant: string, page: FilePage): Promise<TrainingFile[]>;
  /** Throws `file_not_found`, also for another tenant's. */
  find(tenant: string, id: string): Promise<TrainingFile>;
  /** Absolute path of its bytes. */
  pathOf(file: TrainingFile): string;
  /** Reads it whole. Throws `file_corrupt` where its bytes are not those that came. */
  assertIntact(file: TrainingFile): Promise<void>;
  /** Throws `file_not_found`, `file_in_use`. */
  delete(tenant: string, id: string): Promise<void>;
};
