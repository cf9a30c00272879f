// What the files of this folder share.

import type { BatchTable } from '../../storage/batch-table.ts';
import type { JobParts } from '../parts.ts';
import type { TrainingFiles } from '../training-files.ts';
import type { BatchState } from './batches.ts';

export type BatchParts = Pick<
  JobParts,
  'options' | 'clock' | 'newId' | 'exclusive' | 'folder' | 'files' | 'changes'
> & {
  readonly batches: BatchTable;
  readonly trainingFiles: TrainingFiles;
};

/** The `times` of a batch's row with the time of one more state. */
export const timesWith = (times: string, state: BatchState, now: number): string =>
  JSON.stringify({ ...(JSON.parse(times) as object), [state]: now });
