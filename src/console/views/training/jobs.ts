// What a job's fields mean to several parts of the view.

import type { Job } from '../../api/types.ts';

export const jobsUrl = '/v1/fine_tuning/jobs';

export const isOver = ({ status }: Job): boolean => ['succeeded', 'failed', 'cancelled'].includes(status);

/** The adapter that comes of it, also before there is one. */
export const nameOf = ({ suffix, id }: Job): string => suffix ?? id.replace(/^ftjob-/, 'ft-');

/** 0 to 1; null before the steps are counted. */
export const shareOf = ({ step, total_steps, status }: Job): number | null => {
  if (status === 'succeeded') return 1;
  return total_steps === null ? null : Math.min(1, step / total_steps);
};
