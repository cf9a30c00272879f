// The curves of several jobs over each other, by step.

import { h } from 'preact';
import { ask, part } from '../../api/client.ts';
import { readAll } from '../../api/pages.ts';
import type { Job, JobEvent } from '../../api/types.ts';
import { Curves } from '../../parts/curves.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import type { Line } from '../../parts/plot-options.ts';
import { useResource } from '../../state/resource.ts';
import { href } from '../../state/route.ts';
import { addPoint, type Point } from './follow.ts';
import { jobsUrl, nameOf } from './jobs.ts';

type Run = { readonly job: Job; readonly points: readonly Point[] };

/** Most jobs: there are so many colours. */
const runsMax = 6;
const everyMs = 5000;

async function readRun(id: string, signal: AbortSignal): Promise<Run> {
  const at = `${jobsUrl}/${part(id)}`;
  const [job, events] = await Promise.all([ask<Job>(at, { signal }), readAll<JobEvent>(`${at}/events`, signal)]);
  const points: Point[] = [];
  for (const { data } of events.toReversed()) if (data !== null) addPoint(points, data as Point);
  return { job, points };
}

export function Overlay({ ids }: { ids: readonly string[] }) {
  const some = ids.slice(0, runsMax);
  const read = (signal: AbortSignal) => Promise.all(some.map((id) => readRun(id, signal)));
  const runs = useResource<Run[]>(some.join(), read, everyMs);
  return h(
    'div',
    { class: 'whole' },
    h(Heading, { title: 'Runs over each other', above: { title: 'Training', href: href(['training']) } }),
    h(Loaded<Run[]>, {
      resource: runs,
      what: 'runs',
      children: (all) => {
        const steps = [...new Set(all.flatMap(({ points }) => points.map(({ step }) => step)))].sort((a, b) => a - b);
        const of = (label: string, field: string, height: number) =>
          h('section', { class: 'card', key: field }, [
            h(Curves, { key: field, label, x: steps, height, lines: linesOf(all, steps, field) }),
          ]);
        return [
          of('Training loss', 'train_loss', 280),
          of('Validation loss', 'valid_loss', 220),
          of('Learning rate', 'learning_rate', 150),
          of('Tokens/s', 'tokens_per_second', 150),
        ];
      },
    }),
  );
}

function linesOf(runs: readonly Run[], steps: readonly number[], field: string): Line[] {
  return runs.map(({ job, points }, i) => {
    const values = new Map(points.map((point) => [point.step, point[field] ?? null]));
    const name = runs.filter((run) => nameOf(run.job) === nameOf(job)).length > 1 ? job.id : nameOf(job);
    return { name, color: `series-${i + 1}`, values: steps.map((step) => values.get(step) ?? null) };
  });
}
