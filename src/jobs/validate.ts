// Validates a new or resumed job: its files' bytes must still be those that were checked at the upload.

import { LorikeetError } from '../core/errors.ts';
import { recordOf } from './job-row.ts';
import type { JobParts } from './parts.ts';
import type { JobFailure } from './training-jobs.ts';

/** Moves a job from `validating_files` into the queue, or fails it. Does nothing in another state. */
export async function validateJob({ jobs, folder, events, clock, exclusive }: JobParts, id: string): Promise<void> {
  const row = await jobs.get(id);
  if (row?.state !== 'validating_files') return;
  const { trainingDigest, validationDigest } = recordOf(row).spec;
  const damaged = !(await folder.isIntact(trainingDigest))
    ? 'training_file'
    : validationDigest !== null && !(await folder.isIntact(validationDigest))
      ? 'validation_file'
      : null;
  if (damaged === null) {
    await events.say(id, 'Files validated, moving job to queued state');
    await exclusive(() => jobs.change(id, ['validating_files'], { state: 'queued' }));
    return;
  }
  const { code, message } = new LorikeetError('file_invalid', {
    message: 'The file was damaged on the disk. Upload it again.',
  });
  const failure: JobFailure = { code, message, param: damaged };
  await events.say(id, message, 'error');
  const change = { state: 'failed', error: JSON.stringify(failure), finished_at: clock.now() };
  await exclusive(() => jobs.change(id, ['validating_files'], change));
  events.end(id);
}
