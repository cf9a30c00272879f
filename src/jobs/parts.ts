// What the files of this folder share: the stores, and the one queue of changes.

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
  /**
   * Runs changes of files' and jobs' rows one after another. Throws `storage_full`, and `server_draining` at the end.
   */
  readonly exclusive: Serially;
  /** Aborted when the server ends. */
  readonly stop: AbortSignal;
  /** Validates a job's files and moves the job into the queue. Never rejects. */
  validate(id: string): Promise<void>;
  /** The store in which other servers find a job's checkpoints; null: there is none. */
  readonly work: SharedWork | null;
  /** Removes a job's own folder. Never rejects. */
  forget(id: string): Promise<void>;
};

/** A job's own folder: its trainer's folder, with checkpoints and result, and the adapter that it continues from. */
export const workFolder = ({ options }: Pick<JobParts, 'options'>, id: string) => join(options.folder, 'work', id);
