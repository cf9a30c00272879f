// A job's state in figures.

import { h } from 'preact';
import type { Job } from '../../api/types.ts';
import { count, figure } from '../../figures.ts';
import { Figures } from '../../parts/facts.ts';
import { duration, now } from '../../time.ts';
import { lineOf, type Told } from './follow.ts';

export function JobFigures({ job, told: { points } }: { job: Job; told: Told }) {
  const last = points.at(-1);
  const validations = lineOf(points, 'valid_loss').filter((value) => value !== null);
  const best = validations.length === 0 ? null : Math.min(...validations);
  const steps = job.total_steps ?? last?.total_steps;
  const tokens = points.reduce((sum, point) => sum + (point.tokens ?? 0), 0);
  const shown = (value: number | null | undefined) => (value === null || value === undefined ? '–' : figure(value));
  return h(Figures, {
    figures: [
      { name: 'Step', value: count(last?.step ?? job.step), about: steps ? `of ${count(steps)}` : 'not begun' },
      { name: 'Training loss', value: shown(last?.train_loss), about: 'nats a token' },
      { name: 'Best validation loss', value: shown(best), about: validations.length === 0 ? 'no rows for it' : '' },
      { name: 'Tokens/s', value: shown(last?.tokens_per_second), about: `${count(tokens)} so far` },
      leftOf(job),
    ],
  });
}

function leftOf({ created_at, finished_at, estimated_finish, status }: Job) {
  if (finished_at !== null) return { name: 'Took', value: duration(finished_at - created_at), about: 'with waiting' };
  if (estimated_finish === null) return { name: 'Left', value: '–', about: status.replaceAll('_', ' ') };
  return { name: 'Left', value: duration(Math.max(0, estimated_finish - now() / 1000)), about: 'at this pace' };
}
