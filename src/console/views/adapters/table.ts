// The table of the list: the newest version of each name.

import { h } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { Adapter } from '../../api/types.ts';
import { bytes, count, short } from '../../figures.ts';
import { Badge, Residency, StateBadge } from '../../parts/badge.ts';
import { Digest } from '../../parts/copy.ts';
import { Moment } from '../../parts/facts.ts';
import { WindowRows } from '../../parts/window-rows.ts';
import { href } from '../../state/route.ts';

/** Height of a row, as in styles/6-tables.css. */
const rowPixels = 44;

/** Places of weights, the nearest to the engine first. */
const places = ['merged', 'pages', 'memory', 'disk'];
const placeOf = ({ residency }: Adapter) => places.indexOf(residency);

/** Made once, since a thousand names are sorted at every letter of a search. */
const words = new Intl.Collator();

type Column = {
  readonly title: string;
  /** Whether narrow screens leave the column out. */
  readonly isMinor?: boolean;
  /** Whether all but wide screens leave the column out. */
  readonly isSpare?: boolean;
  readonly isNumber?: boolean;
  readonly sort?: (a: Adapter, b: Adapter) => number;
};

const columns: readonly Column[] = [
  { title: 'Name', sort: (a, b) => words.compare(a.name, b.name) },
  { title: 'Newest', sort: (a, b) => b.version - a.version },
  { title: 'Now in', isMinor: true, sort: (a, b) => placeOf(a) - placeOf(b) },
  { title: 'Rank', isNumber: true, sort: (a, b) => b.r - a.r },
  { title: 'Modules', isMinor: true },
  { title: 'Parameters', isSpare: true, isNumber: true, sort: (a, b) => b.parameters - a.parameters },
  { title: 'Size', isMinor: true, isNumber: true, sort: (a, b) => b.bytes - a.bytes },
  { title: 'Digest', isMinor: true },
  { title: 'Source', isSpare: true, sort: (a, b) => words.compare(a.source, b.source) },
  { title: 'Made', sort: (a, b) => b.created_at - a.created_at },
];

type TableProps = { readonly adapters: readonly Adapter[] };

export function AdapterTable({ adapters }: TableProps) {
  const [sorted, setSorted] = useState('Name');
  const order = columns.find(({ title }) => title === sorted)!.sort!;
  const rows = useMemo(() => [...adapters].sort(order), [adapters, order]);
  return h(
    'table',
    { class: 'adapters', 'aria-rowcount': rows.length + 1, 'aria-label': 'Adapters' },
    h(
      'thead',
      null,
      h(
        'tr',
        null,
        columns.map((column) => h(Head, { key: column.title, column, sorted, setSorted })),
      ),
    ),
    h(WindowRows<Adapter>, {
      rows,
      rowPixels,
      columns: columns.length,
      row: adapterRow,
    }),
  );
}

type HeadProps = { column: Column; sorted: string; setSorted: (title: string) => void };

function Head({ column: { title, isMinor, isSpare, isNumber, sort }, sorted, setSorted }: HeadProps) {
  const classes = [isMinor ? 'minor' : '', isSpare ? 'spare' : '', isNumber ? 'number' : ''].join(' ').trim();
  const isSorted = sorted === title;
  const direction = isSorted ? (['Name', 'Source', 'Now in'].includes(title) ? 'ascending' : 'descending') : undefined;
  return h(
    'th',
    { scope: 'col', class: classes, 'aria-sort': direction },
    sort ? h('button', { type: 'button', class: 'sort', onClick: () => setSorted(title) }, title) : title,
  );
}

const adapterRow = (adapter: Adapter, index: number) =>
  h(
    'tr',
    { key: adapter.id, 'aria-rowindex': index + 2 },
    h('th', { scope: 'row' }, h('a', { href: href(['adapters', adapter.name]) }, adapter.name)),
    h(
      'td',
      null,
      h('span', { class: 'tags' }, [
        h('span', { key: 'version' }, `v${adapter.version}`),
        ...adapter.aliases.map((alias) => h(Badge, { key: alias, tone: 'accent' }, alias)),
        adapter.state !== 'ready' && h(StateBadge, { key: 'state', state: adapter.state }),
        adapter.warnings.length > 0 &&
          h(Badge, { key: 'warnings', tone: 'warn', title: adapter.warnings.join('\n') }, 'warning'),
      ]),
    ),
    h('td', { class: 'minor' }, h(Residency, adapter)),
    h('td', { class: 'number' }, count(adapter.r)),
    h(
      'td',
      { class: 'minor' },
      h('span', { class: 'cut', title: adapter.target_modules.join(', ') }, modules(adapter)),
    ),
    h('td', { class: 'spare number' }, short(adapter.parameters)),
    h('td', { class: 'minor number' }, bytes(adapter.bytes)),
    h('td', { class: 'minor' }, h(Digest, { digest: adapter.digest })),
    h('td', { class: 'spare' }, adapter.source),
    h('td', null, h(Moment, { seconds: adapter.created_at })),
  );

/** PEFT's names of the modules without their common ending. */
const modules = ({ target_modules }: Adapter) => target_modules.map((name) => name.replace(/_proj$/, '')).join(' ');
