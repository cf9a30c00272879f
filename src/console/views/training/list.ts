// The list of all jobs, newest first; several can be chosen to be compared.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { readAll } from '../../api/pages.ts';
import type { Job } from '../../api/types.ts';
import { percent, plural } from '../../figures.ts';
import { StateBadge } from '../../parts/badge.ts';
import { LinkButton } from '../../parts/button.ts';
import { Moment, Progress } from '../../parts/facts.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Empty } from '../../parts/notes.ts';
import { useResource } from '../../state/resource.ts';
import { href } from '../../state/route.ts';
import { jobsUrl, nameOf, shareOf } from './jobs.ts';

const everyMs = 4000;

export function JobList() {
  const jobs = useResource<Job[]>('jobs', (signal) => readAll(jobsUrl, signal), everyMs);
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const choose = (id: string) =>
    setChosen((before) => (before.includes(id) ? before.filter((one) => one !== id) : [...before, id]));
  return h(
    'div',
    { class: 'whole' },
    h(
      Heading,
      { title: 'Training', about: jobs.value && plural(jobs.value.length, 'job') },
      chosen.length > 1 &&
        h(
          LinkButton,
          { icon: 'compare', href: href(['training', 'overlay'], { job: chosen }) },
          `Overlay ${chosen.length} runs`,
        ),
      h(LinkButton, { kind: 'primary', icon: 'add', href: href(['training', 'new']) }, 'New training'),
    ),
    h(Loaded<Job[]>, {
      resource: jobs,
      what: 'training jobs',
      children: (all) => (all.length === 0 ? h(None, null) : h(JobTable, { jobs: all, chosen, onChoose: choose })),
    }),
  );
}

type TableProps = { jobs: readonly Job[]; chosen: readonly string[]; onChoose: (id: string) => void };

function JobTable({ jobs, chosen, onChoose }: TableProps) {
  const row = (job: Job) =>
    h(
      'tr',
      { key: job.id },
      h(
        'td',
        null,
        h('input', {
          type: 'checkbox',
          'aria-label': `Overlay ${nameOf(job)}`,
          checked: chosen.includes(job.id),
          onInput: () => onChoose(job.id),
        }),
      ),
      h('th', { scope: 'row' }, h('a', { href: href(['training', job.id]) }, nameOf(job))),
      h('td', null, h(StateBadge, { state: job.status })),
      h('td', null, h(JobProgress, { job })),
      h('td', { class: 'minor' }, job.fine_tuned_model && h('code', null, job.fine_tuned_model)),
      h('td', { class: 'minor' }, job.model),
      h('td', { class: 'late' }, h(Moment, { seconds: job.created_at })),
    );
  const minor = { class: 'minor' };
  return h(
    'table',
    { class: 'sheet', 'aria-label': 'Training jobs' },
    h(
      'thead',
      null,
      h(
        'tr',
        null,
        h('td', null, h('span', { class: 'unseen' }, 'Overlay')),
        h('th', { scope: 'col' }, 'Name'),
        h('th', { scope: 'col' }, 'State'),
        h('th', { scope: 'col' }, 'Steps'),
        h('th', { scope: 'col', ...minor }, 'Made'),
        h('th', { scope: 'col', ...minor }, 'From'),
        h('th', { scope: 'col', class: 'late' }, 'Created'),
      ),
    ),
    h('tbody', null, jobs.map(row)),
  );
}

function JobProgress({ job }: { job: Job }) {
  const share = shareOf(job);
  if (share === null) return null;
  return h(
    'div',
    { class: 'steps' },
    h(Progress, { share, label: `Steps of ${nameOf(job)}` }),
    h('span', { class: 'faint' }, job.total_steps === null ? percent(share) : `${job.step}/${job.total_steps}`),
  );
}

const None = () =>
  h(
    Empty,
    { icon: 'training', title: 'Nothing was trained yet' },
    h('p', null, 'A JSONL file of prompts and completions becomes an adapter, on the very weights that serve.'),
    h(LinkButton, { kind: 'primary', icon: 'add', href: href(['training', 'new']) }, 'New training'),
  );
