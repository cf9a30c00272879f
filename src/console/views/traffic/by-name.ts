// Requests and tokens by adapter and by tenant, since the start and now. A tenant's key sees that tenant alone.

import { h } from 'preact';
import { byLabel, namesIn, type Sample } from '../../api/prometheus.ts';
import { count, figure, short } from '../../figures.ts';
import { Badge } from '../../parts/badge.ts';
import { Curves } from '../../parts/curves.ts';
import { Card } from '../../parts/heading.ts';
import { Sheet } from '../../parts/sheet.ts';
import { href } from '../../state/route.ts';
import { over } from './samples.ts';

type Label = 'adapter' | 'tenant';

const [requests, prompts, generated] = [
  'tenant_requests_total',
  'tenant_prompt_tokens_total',
  'tenant_generation_tokens_total',
] as const;

/** Most lines of a plot, so that they can be told apart; the table has all. */
const linesMax = 5;

const rateOf = (metric: string, label: Label, name: string) => (before: Sample, after: Sample) => {
  const grown = (byLabel(after, metric, label).get(name) ?? 0) - (byLabel(before, metric, label).get(name) ?? 0);
  return grown < 0 ? null : (grown * 1000) / Math.max(1, after.at - before.at);
};

const columnsOf = (label: Label) => [
  { title: label === 'adapter' ? 'Adapter' : 'Tenant' },
  ...(label === 'adapter' ? [{ title: 'Now' }] : []),
  ...['Requests', 'Requests/s', 'Prompt tokens', 'Generated', 'Tokens/s'].map((title) => ({ title, isNumber: true })),
];

function ByName({ samples, label }: { samples: readonly Sample[]; label: Label }) {
  const last = samples.at(-1)!;
  const title = label === 'adapter' ? 'By adapter' : 'By tenant';
  const totals = [...byLabel(last, requests, label)].sort(([, a], [, b]) => b - a);
  if (totals.length === 0) return h(Card, { title }, h('p', { class: 'faint' }, 'No answer since the start.'));
  const [read, written] = [byLabel(last, prompts, label), byLabel(last, generated, label)];
  const recent = samples.slice(-6);
  const now = (metric: string, name: string) => figure(over(recent, rateOf(metric, label, name)).at(-1) ?? 0);
  const [running, waiting] = [namesIn(last, 'running'), namesIn(last, 'waiting')];
  const cells = (name: string, total: number) => [
    shown(label, name),
    ...(label === 'adapter' ? [activity(running.has(name), waiting.has(name))] : []),
    ...[count(total), now(requests, name)],
    ...[short(read.get(name) ?? 0), short(written.get(name) ?? 0), now(generated, name)],
  ];
  return h(
    Card,
    { title },
    h(Curves, {
      ...{ label: `Tokens a second ${title.toLowerCase()}`, height: 160, isTime: true, fromZero: true },
      x: samples.map(({ at }) => at / 1000),
      lines: totals.slice(0, linesMax).map(([name], i) => ({
        ...{ name: wordOf(label, name), color: `series-${i + 1}` },
        values: over(samples, rateOf(generated, label, name)),
      })),
    }),
    h(Sheet, {
      label: title,
      isInCard: true,
      columns: columnsOf(label),
      rows: totals.map(([name, total]) => ({ key: name, cells: cells(name, total) })),
    }),
  );
}

/** Series without a name of their own are summed in one: under an empty tenant, or the adapter `other`. */
function wordOf(label: Label, name: string): string {
  if (label === 'tenant') return name === '' ? 'all others' : name;
  return name === '' ? 'base model' : name === 'other' ? 'all others' : name;
}

function shown(label: Label, name: string) {
  const word = wordOf(label, name);
  const isOne = label === 'adapter' && word === name && !name.includes('+');
  return isOne ? h('a', { href: href(['adapters', name]) }, name) : word;
}

const activity = (isRunning: boolean, isWaiting: boolean) =>
  h(
    'span',
    { class: 'tags' },
    isRunning && h(Badge, { tone: 'good' }, 'running'),
    isWaiting && h(Badge, { tone: 'warn' }, 'waiting'),
  );

export const ByAdapter = ({ samples }: { samples: readonly Sample[] }) => h(ByName, { samples, label: 'adapter' });
export const ByTenant = ({ samples }: { samples: readonly Sample[] }) => h(ByName, { samples, label: 'tenant' });
