// Requests by adapter, since the server started and now; which of them run or wait at this moment.

import { h } from 'preact';
import { byLabel, namesIn, type Sample } from '../../api/prometheus.ts';
import { count, figure } from '../../figures.ts';
import { Badge } from '../../parts/badge.ts';
import { Curves } from '../../parts/curves.ts';
import { Card } from '../../parts/heading.ts';
import { href } from '../../state/route.ts';
import { over } from './samples.ts';

/** Lines that can be told apart; the table has all. */
const linesMax = 5;
const metric = 'adapter_requests_total';

const adapterRate = (name: string) => (before: Sample, after: Sample) => {
  const grown =
    (byLabel(after, metric, 'adapter').get(name) ?? 0) - (byLabel(before, metric, 'adapter').get(name) ?? 0);
  return grown < 0 ? null : (grown * 1000) / Math.max(1, after.at - before.at);
};

export function ByAdapter({ samples }: { samples: readonly Sample[] }) {
  const last = samples.at(-1)!;
  const totals = [...byLabel(last, metric, 'adapter')].sort(([, a], [, b]) => b - a);
  if (totals.length === 0) {
    return h(Card, { title: 'By adapter' }, h('p', { class: 'faint' }, 'No adapter was asked for since the start.'));
  }
  const [running, waiting] = [namesIn(last, 'running'), namesIn(last, 'waiting')];
  const now = (name: string) => over(samples.slice(-6), adapterRate(name)).at(-1) ?? 0;
  const row = ([name, total]: [string, number]) =>
    h(
      'tr',
      { key: name },
      h('th', { scope: 'row' }, name === 'other' ? 'all others' : h('a', { href: href(['adapters', name]) }, name)),
      h(
        'td',
        null,
        h(
          'span',
          { class: 'tags' },
          running.has(name) && h(Badge, { tone: 'good' }, 'running'),
          waiting.has(name) && h(Badge, { tone: 'warn' }, 'waiting'),
        ),
      ),
      h('td', { class: 'number' }, count(total)),
      h('td', { class: 'number' }, figure(now(name))),
    );
  return h(
    Card,
    { title: 'By adapter' },
    h(Curves, {
      ...{ label: 'Requests a second', height: 160, isTime: true, fromZero: true },
      x: samples.map(({ at }) => at / 1000),
      lines: totals.slice(0, linesMax).map(([name], i) => ({
        ...{ name, color: `series-${i + 1}`, values: over(samples, adapterRate(name)) },
      })),
    }),
    h(
      'div',
      { class: 'scroll tall', tabIndex: 0, role: 'region', 'aria-label': 'Requests by adapter' },
      h(
        'table',
        null,
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            h('th', { scope: 'col' }, 'Adapter'),
            h('th', { scope: 'col' }, 'Now'),
            h('th', { scope: 'col', class: 'number' }, 'Requests'),
            h('th', { scope: 'col', class: 'number' }, 'Requests/s'),
          ),
        ),
        h('tbody', null, totals.map(row)),
      ),
    ),
  );
}
