// The curves of one job.

import { h } from 'preact';
import { figure } from '../../figures.ts';
import { Curves } from '../../parts/curves.ts';
import { Empty } from '../../parts/notes.ts';
import { lineOf, type Point } from './follow.ts';

export function JobCurves({ points }: { points: readonly Point[] }) {
  if (points.length === 0) return h(Empty, { icon: 'training', title: 'Waiting for the first step' });
  const x = points.map(({ step }) => step);
  const line = (name: string, field: string, color: string, isDashed = false) => {
    return { name, color, isDashed, values: lineOf(points, field) };
  };
  const validated = points.some((point) => point.valid_loss !== undefined);
  return h(
    'div',
    { class: 'stack' },
    h(
      'section',
      { class: 'card', 'data-testid': 'loss' },
      h(Curves, {
        ...{ label: 'Loss', x, height: 280 },
        lines: [
          line('training', 'train_loss', 'series-1'),
          ...(validated ? [line('validation', 'valid_loss', 'series-2')] : []),
        ],
      }),
    ),
    h(
      'div',
      { class: 'cards three' },
      h(
        'section',
        { class: 'card' },
        h(Curves, {
          ...{ label: 'Learning rate', x, height: 150, fromZero: true, shown: (value: number) => figure(value) },
          lines: [line('rate', 'learning_rate', 'series-3')],
        }),
      ),
      h(
        'section',
        { class: 'card' },
        h(Curves, {
          ...{ label: 'Tokens/s', x, height: 150, fromZero: true },
          lines: [line('speed', 'tokens_per_second', 'series-4')],
        }),
      ),
      h(
        'section',
        { class: 'card' },
        h(Curves, {
          ...{ label: 'Gradient norm', x, height: 150, fromZero: true },
          lines: [line('norm', 'grad_norm', 'series-5')],
        }),
      ),
    ),
  );
}
