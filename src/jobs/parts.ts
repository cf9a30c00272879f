// What the files of this folder share: the stores, and the one queue that changes pass.

import { join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import type { Serially } from '../core/serially.ts';
import type { BatchTable } from '../storage/batch-table.ts';
import type { FileFolder } from '../storage/file-folder.ts';
import type { FileTable } from '../storage/file-table.ts';
import type { JobEventTable } from '../storage/job-event-table.ts';
import type { JobTable } from '../storage/job-table.ts';
import type { Changes } from '../storage/replicas/changes.ts';
import type { SharedWork } from '../storage/shared-work.ts';
import type { JobEvents } from './events.ts';
import type { JobOptions } from './options.ts';

export type JobParts = {
  readonly options: JobOptions;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly files: FileTable;
  readonly folder: FileFolder;
  readonly jobs: JobTable;
  readonly batches: BatchTable;
  readonly eventTable: JobEventTable;
  readonly events: JobEvents;
  readonly changes: Changes;
  /** Every change of a file's or a job's row goes through here. Throws `storage_full`, `server_draining` at the end. */
  readonly exclusive: Serially;
  /** Aborted at the end. */
  readonly stop: AbortSignal;
  /** Moves a job that waits for its files into the queue. Never rejects. */
  validate(id: string): Promise<void>;
  /** Where other servers find what a job has come to; null: there are none. */
  readonly work: SharedWork | null;
  /** Removes a job's own folder. Never rejects. */
  forget(id: string): Promise<void>;
};

/** A job's own folder: its trainer's, with checkpoints and the result, and the adapter that it goes on from. */
export const workFolder = ({ options }: Pick<JobParts, 'options'>, id: string) => join(options.folder, 'work', id);
