// The settings of a job, with those that the server chose.

import { h } from 'preact';
import type { Job } from '../../api/types.ts';
import { Facts } from '../../parts/facts.ts';
import { Card } from '../../parts/heading.ts';

export function Chosen({ job }: { job: Job }) {
  const { model, training_file, validation_file, alias, seed, hyperparameters } = job;
  return h(
    Card,
    { title: 'Settings' },
    h(Facts, {
      facts: [
        ['from', model],
        ['training_file', h('code', null, training_file)],
        ['validation_file', validation_file === null ? 'none' : h('code', null, validation_file)],
        ['alias', alias ?? 'none'],
        ['seed', String(seed)],
        ...Object.entries(hyperparameters)
          .filter(([name]) => name !== 'seed')
          .map(([name, value]) => [name, shown(value)] as const),
      ],
    }),
  );
}

function shown(value: unknown): string {
  if (value === null) return 'none';
  if (Array.isArray(value)) return value.join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
