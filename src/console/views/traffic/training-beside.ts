// The speed of a running training job beside that of serving; nothing where no job runs.

import { h } from 'preact';
import { byLabel, rate, type Sample } from '../../api/prometheus.ts';
import { plural } from '../../figures.ts';
import { LinkButton } from '../../parts/button.ts';
import { Curves } from '../../parts/curves.ts';
import { Card } from '../../parts/heading.ts';
import { href } from '../../state/route.ts';
import { tokensPerSecond } from './figures.ts';
import { over } from './samples.ts';

export function TrainingBeside({ samples }: { samples: readonly Sample[] }) {
  const jobs = byLabel(samples.at(-1)!, 'training_jobs', 'state');
  const running = jobs.get('running') ?? 0;
  if (running === 0) return null;
  const actions = h(LinkButton, { isSmall: true, href: href(['training']) }, 'All jobs');
  return h(
    Card,
    { title: 'Training beside', actions },
    h('p', { class: 'faint' }, `${plural(running, 'job')} running, ${jobs.get('queued') ?? 0} queued.`),
    h(Curves, {
      ...{ label: 'Tokens a second', height: 150, isTime: true, fromZero: true },
      x: samples.map(({ at }) => at / 1000),
      lines: [
        {
          name: 'trained',
          color: 'series-2',
          values: over(samples, (before, after) => rate(before, after, 'trained_tokens_total')),
        },
        { name: 'generated', color: 'series-1', values: over(samples, tokensPerSecond) },
      ],
    }),
  );
}
