// The view of training: the list of jobs, a new one, one job, or several over each other.

import { h } from 'preact';
import { JobList } from './training/list.ts';
import { NewJob } from './training/new.ts';
import { OneJob } from './training/one.ts';
import { Overlay } from './training/overlay.ts';
import type { ViewProps } from './view.ts';

export function TrainingView({ route: { parts, query } }: ViewProps) {
  const [, id] = parts;
  if (id === undefined) return h(JobList, null);
  if (id === 'new') return h(NewJob, null);
  if (id === 'overlay') return h(Overlay, { ids: query.getAll('job') });
  return h(OneJob, { key: id, id });
}
