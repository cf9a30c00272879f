// Properties of a job that several parts of the view use.

import type { Job } from '../../api/types.ts';

export const jobsUrl = '/v1/fine_tuning/jobs';

export const isOver = ({ status }: Job): boolean => ['succeeded', 'failed', 'cancelled'].includes(status);

/** Name of the adapter that the job makes. */
export const nameOf = ({ suffix, id }: Job): string => suffix ?? id.replace(/^ftjob-/, 'ft-');

/** Progress from 0 to 1; null before the number of steps is known. */
export const shareOf = ({ step, total_steps, status }: Job): number | null => {
  if (status === 'succeeded') return 1;
  return total_steps === null ? null : Math.min(1, step / total_steps);
};
