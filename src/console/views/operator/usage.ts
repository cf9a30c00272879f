// Usage by minute, adapter and tenant, equal to the sums of the answers: of the key's tenant, or with an operator's key
// of all.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../../api/client.ts';
import { readAll } from '../../api/pages.ts';
import type { Adapter, Usage } from '../../api/types.ts';
import { count, short, shortDigest } from '../../figures.ts';
import { Curves } from '../../parts/curves.ts';
import { Figures } from '../../parts/facts.ts';
import { Select } from '../../parts/fields.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Empty } from '../../parts/notes.ts';
import { Sheet } from '../../parts/sheet.ts';
import { useResource } from '../../state/resource.ts';
import { now } from '../../time.ts';

type Read = { readonly rows: readonly Usage[]; readonly names: ReadonlyMap<string, string> };
type UsagePage = { readonly data: readonly Usage[]; readonly next_page: string | null };
type Counts = Pick<Usage, (typeof fields)[number]>;

const fields = ['requests', 'prompt_tokens', 'cached_tokens', 'completion_tokens', 'trained_tokens'] as const;

const spans = [
  { value: '3600', label: 'hour' },
  { value: '86400', label: 'day' },
  { value: '604800', label: 'week' },
];

const whose = [
  { value: '/v1/usage', label: 'my tenant' },
  { value: '/v1/admin/usage', label: 'all tenants' },
];

async function readUsage(path: string, seconds: number, signal: AbortSignal): Promise<Read> {
  const rows: Usage[] = [];
  const start = Math.floor(now() / 1000) - seconds;
  for (let page: string | null = ''; page !== null; ) {
    const more: string = page === '' ? '' : `&page=${encodeURIComponent(page)}`;
    const answer: UsagePage = await ask(`${path}?start_time=${start}${more}`, { signal });
    rows.push(...answer.data);
    page = answer.next_page;
  }
  // A key that may not list adapters sees their digests instead of names.
  const adapters = await readAll<Adapter>('/v1/adapters', signal).catch(() => []);
  return { rows, names: new Map(adapters.map(({ digest, id }) => [digest, id])) };
}

export function UsageView() {
  const [span, setSpan] = useState('86400');
  const [path, setPath] = useState(whose[0]!.value);
  const usage = useResource<Read>(`${path} ${span}`, (signal) => readUsage(path, Number(span), signal));
  return h(
    'div',
    { class: 'whole' },
    h(
      Heading,
      { title: 'Usage', about: 'By minute, adapter and tenant' },
      h(Select, { label: 'Of', value: path, onChange: setPath, options: whose }),
      h(Select, { label: 'The last', value: span, onChange: setSpan, options: spans }),
    ),
    h(Loaded<Read>, {
      resource: usage,
      what: 'usage',
      children: (read) =>
        read.rows.length === 0
          ? h(Empty, { icon: 'usage', title: 'Nothing was used' })
          : h(Used, { ...read, isOfAll: path !== whose[0]!.value }),
    }),
  );
}

const sumOf = (rows: readonly Usage[], field: keyof Counts) => rows.reduce((sum, row) => sum + row[field], 0);

function Used({ rows, names, isOfAll }: Read & { isOfAll: boolean }) {
  const minutes = [...Map.groupBy(rows, ({ start_time }) => start_time)].sort(([a], [b]) => a - b);
  const line = (name: string, field: keyof Counts, color: string) => {
    return { name, color, values: minutes.map(([, some]) => sumOf(some, field)) };
  };
  const nameOf = (digest: string) =>
    digest === ''
      ? 'base model, training'
      : digest
          .split('+')
          .map((one) => names.get(one) ?? shortDigest(one))
          .join(' + ');
  return h(
    'div',
    { class: 'stack' },
    h(Figures, {
      figures: fields.map((field) => ({ name: field.replaceAll('_', ' '), value: short(sumOf(rows, field)) })),
    }),
    h(
      'section',
      { class: 'card' },
      h(Curves, {
        ...{ label: 'Tokens a minute', isTime: true, fromZero: true },
        x: minutes.map(([start]) => start),
        lines: [line('generated', 'completion_tokens', 'series-1'), line('prompts', 'prompt_tokens', 'series-3')],
      }),
    ),
    h(Sums, { rows, title: 'Adapter', keyOf: ({ adapter_digest }) => adapter_digest ?? '', nameOf }),
    isOfAll && h(Sums, { rows, title: 'Tenant', keyOf: ({ tenant }) => tenant, nameOf: (tenant) => tenant }),
  );
}

type SumsProps = {
  readonly rows: readonly Usage[];
  readonly title: string;
  readonly keyOf: (row: Usage) => string;
  readonly nameOf: (key: string) => string;
};

function Sums({ rows, title, keyOf, nameOf }: SumsProps) {
  const groups = [...Map.groupBy(rows, keyOf)]
    .map(([key, some]) => ({ key, some }))
    .sort((a, b) => sumOf(b.some, 'completion_tokens') - sumOf(a.some, 'completion_tokens'));
  return h(Sheet, {
    label: `By ${title.toLowerCase()}`,
    columns: [{ title }, ...fields.map((field) => ({ title: field.replaceAll('_', ' '), isNumber: true }))],
    rows: groups.map(({ key, some }) => ({
      key,
      cells: [nameOf(key), ...fields.map((field) => count(sumOf(some, field)))],
    })),
  });
}
