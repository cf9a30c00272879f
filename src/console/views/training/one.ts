// One job: its curves as they grow, its checkpoints, its actions.

import { h } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, ask, part } from '../../api/client.ts';
import type { Job } from '../../api/types.ts';
import { StateBadge } from '../../parts/badge.ts';
import { Progress } from '../../parts/facts.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { ErrorNote } from '../../parts/notes.ts';
import { useResource } from '../../state/resource.ts';
import { href } from '../../state/route.ts';
import { Checkpoints } from './checkpoints.ts';
import { Chosen } from './chosen.ts';
import { useTold } from './follow.ts';
import { JobActions } from './job-actions.ts';
import { JobCurves } from './job-curves.ts';
import { JobFigures } from './job-figures.ts';
import { isOver, jobsUrl, nameOf, shareOf } from './jobs.ts';
import { Sentences } from './sentences.ts';

const everyMs = 2000;

export function OneJob({ id }: { id: string }) {
  const [isEnded, setEnded] = useState(false);
  const path = `${jobsUrl}/${part(id)}`;
  const job = useResource<Job>(id, (signal) => ask(path, { signal }), isEnded ? undefined : everyMs);
  const told = useTold(id);
  const { reload } = job;
  const current = job.value;
  useEffect(() => setEnded(current !== null && isOver(current)), [current]);
  // The last event arrives before the next periodic reading.
  useEffect(() => {
    if (told.isOver) reload();
  }, [told.isOver, reload]);
  return h(
    'div',
    { class: 'whole' },
    h(
      Heading,
      {
        title: current === null ? id : nameOf(current),
        above: { title: 'Training', href: href(['training']) },
        about: current && h('span', { class: 'tags' }, h(StateBadge, { state: current.status }), h('code', null, id)),
      },
      current && h(JobActions, { job: current, onChange: reload }),
    ),
    h(Loaded<Job>, {
      resource: job,
      what: 'the job',
      children: (value) => [
        !isOver(value) && h(Progress, { key: 'bar', share: shareOf(value), label: 'Steps' }),
        value.error && h(ErrorNote, { key: 'error', error: failureOf(value.error) }),
        h(JobFigures, { key: 'figures', job: value, told }),
        h(JobCurves, { key: 'curves', points: told.points }),
        h(Checkpoints, { key: 'checkpoints', job: value }),
        h(Chosen, { key: 'chosen', job: value }),
        h(Sentences, { key: 'sentences', sentences: told.sentences }),
      ],
    }),
  );
}

const failureOf = ({ code, message, param }: NonNullable<Job['error']>) => new ApiError(500, code, message, param);
