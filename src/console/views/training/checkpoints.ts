// The checkpoints of a job, which are adapters that can be used while it runs. One can become a version of the job's
// adapter where it is better than what came later.

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
import { type Column, Sheet } from '../../parts/sheet.ts';
import { useAction } from '../../state/action.ts';
import { useResource } from '../../state/resource.ts';
import { href } from '../../state/route.ts';
import { publishAs } from './checkpoint-version.ts';
import { isOver, jobsUrl, nameOf } from './jobs.ts';
import { PromoteReference } from './promote-reference.ts';

const everyMs = 5000;

const columns: readonly Column[] = [
  { title: 'Step' },
  { title: 'Adapter' },
  { title: 'Training loss', isNumber: true },
  { title: 'Validation loss', isNumber: true },
  { title: 'Saved', isMinor: true },
  { title: '' },
];

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
    const buttons = h(
      'div',
      { class: 'actions end' },
      h(LinkButton, { isSmall: true, icon: 'compare', href: targets }, 'Compare with base'),
      h(
        Button,
        { isSmall: true, icon: 'promote', isBusy: action.isRunning, onClick: () => promote(checkpoint) },
        'Promote',
      ),
    );
    const losses = [metrics.train_loss, metrics.valid_loss].map((loss) => (loss === undefined ? '' : figure(loss)));
    const cells = [
      count(step_number),
      h('code', null, reference),
      ...losses,
      h(Moment, { seconds: created_at }),
      buttons,
    ];
    return { key: id, cells };
  };
  return h(
    Card,
    { title: 'Checkpoints' },
    action.error && h(ErrorNote, { error: action.error }),
    h(Sheet, { label: 'Checkpoints', isInCard: true, columns, rows: all.map(row) }),
    made !== null && h(PromoteReference, { reference: made, onClose: () => setMade(null) }),
  );
}
