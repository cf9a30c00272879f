// Checkpoints: adapters that can be asked for while the job goes on. One that is better than what comes later can
// become a version of the adapter's own name.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask, part } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { Checkpoint, Job } from '../../api/types.ts';
import { count, figure } from '../../figures.ts';
import { Button, LinkButton } from '../../parts/button.ts';
import { Moment } from '../../parts/facts.ts';
import { Card } from '../../parts/heading.ts';
import { ErrorNote } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';
import { useResource } from '../../state/resource.ts';
import { href } from '../../state/route.ts';
import { publishAs } from './checkpoint-version.ts';
import { isOver, jobsUrl, nameOf } from './jobs.ts';
import { PromoteReference } from './promote-reference.ts';

const everyMs = 5000;

export function Checkpoints({ job }: { job: Job }) {
  const path = `${jobsUrl}/${part(job.id)}/checkpoints?limit=100`;
  const key = `${path} ${isOver(job)}`;
  const read = (signal: AbortSignal) => ask<Page<Checkpoint>>(path, { signal });
  const found = useResource<Page<Checkpoint>>(key, read, isOver(job) ? undefined : everyMs);
  const action = useAction();
  const [made, setMade] = useState<string | null>(null);
  const promote = (checkpoint: Checkpoint) =>
    action.run(async () => {
      const version = await publishAs(nameOf(job), checkpoint.fine_tuned_model_checkpoint);
      setMade(version.id);
    });
  const all = found.value?.data ?? [];
  if (all.length === 0) return null;
  const row = (checkpoint: Checkpoint) => {
    const { id, step_number, metrics, fine_tuned_model_checkpoint: reference, created_at } = checkpoint;
    const targets = href(['playground'], { target: ['', reference] });
    return h(
      'tr',
      { key: id },
      h('th', { scope: 'row' }, count(step_number)),
      h('td', null, h('code', null, reference)),
      h('td', { class: 'number' }, metrics.train_loss === undefined ? '' : figure(metrics.train_loss)),
      h('td', { class: 'number' }, metrics.valid_loss === undefined ? '' : figure(metrics.valid_loss)),
      h('td', { class: 'minor' }, h(Moment, { seconds: created_at })),
      h(
        'td',
        null,
        h(
          'div',
          { class: 'actions end' },
          h(LinkButton, { isSmall: true, icon: 'compare', href: targets }, 'Compare with base'),
          h(
            Button,
            { isSmall: true, icon: 'promote', isBusy: action.isRunning, onClick: () => promote(checkpoint) },
            'Promote',
          ),
        ),
      ),
    );
  };
  const titles = ['Step', 'Adapter', 'Training loss', 'Validation loss', 'Saved', ''];
  const classes = ['', '', 'number', 'number', 'minor', ''];
  return h(
    Card,
    { title: 'Checkpoints' },
    action.error && h(ErrorNote, { error: action.error }),
    h(
      'div',
      { class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Checkpoints' },
      h(
        'table',
        null,
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            titles.map((title, i) => headOf(title, classes[i]!)),
          ),
        ),
        h('tbody', null, all.map(row)),
      ),
    ),
    made !== null && h(PromoteReference, { reference: made, onClose: () => setMade(null) }),
  );
}

/** The column of buttons needs no title. */
const headOf = (title: string, className: string) =>
  title === '' ? h('td', { key: title }) : h('th', { key: title, scope: 'col', class: className }, title);
