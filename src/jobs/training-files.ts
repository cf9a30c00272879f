// Files to train on, files of requests, and results of jobs and batches: their owners and their bytes. This file is the
// contract; the server uses nothing else of them.

import type { Readable } from 'node:stream';

export type UploadPurpose = 'fine-tune' | 'batch';
export type FilePurpose = UploadPurpose | 'fine-tune-results' | 'batch_output';

/** Immutable. Times are milliseconds since the epoch. */
export type TrainingFile = {
  readonly id: string;
  readonly tenant: string;
  readonly createdAt: number;
  /** Prefix of the key that uploaded it; null on a server without keys, and for results. */
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
   * Takes the bytes and checks each line as it comes. Throws `body_too_large`, `storage_full`, and for `fine-tune`
   * `file_invalid` with the lines that cannot be trained on.
   * @param purpose null: not known yet, in which case `publish` may throw `file_invalid`. Lines of a batch are checked
   * when the batch is made.
   */
  rows(bytes: Readable, purpose: UploadPurpose | null): Promise<void>;
  /** Publishes the file, durably. Throws `missing_parameter` where no bytes came, `storage_full`. */
  publish(about: {
    readonly tenant: string;
    readonly createdBy: string | null;
    readonly filename: string;
    readonly purpose: UploadPurpose;
  }): Promise<TrainingFile>;
  /** Removes what was not published. Does nothing after `publish` has succeeded. */
  discard(): Promise<void>;
};

export type FilePage = {
  readonly purposes: readonly FilePurpose[];
  readonly after: string | null;
  readonly limit: number;
  readonly newestFirst: boolean;
};

export type TrainingFiles = {
  /** Throws `too_many_uploads` where too many uploads run, or where the tenant has too many files. */
  stage(tenant: string): Promise<StagedTrainingFile>;
  list(tenant: string, page: FilePage): Promise<TrainingFile[]>;
  /** Throws `file_not_found`, also for another tenant's file. */
  find(tenant: string, id: string): Promise<TrainingFile>;
  /** Absolute path of the file's bytes. */
  pathOf(file: TrainingFile): string;
  /** Reads the whole file. Throws `file_corrupt` where its bytes have changed. */
  assertIntact(file: TrainingFile): Promise<void>;
  /** Throws `file_not_found`, `file_in_use`. */
  delete(tenant: string, id: string): Promise<void>;
};
