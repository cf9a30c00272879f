// The servers that share this one's database: their leases, how many changes each has not read yet, and the status that
// each reports.

import { h } from 'preact';
import { ask } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { Replica } from '../../api/types.ts';
import { count, figure, plural } from '../../figures.ts';
import { Badge } from '../../parts/badge.ts';
import { Facts, Moment } from '../../parts/facts.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Sheet } from '../../parts/sheet.ts';
import { useResource } from '../../state/resource.ts';
import { duration } from '../../time.ts';

const everyMs = 5000;

const columns = [
  { title: 'Replica' },
  { title: 'State' },
  { title: 'Up since' },
  { title: 'Changes behind', isNumber: true },
  { title: 'Deletions waiting', isNumber: true },
  { title: 'Says of itself' },
];

export function ReplicasView() {
  const replicas = useResource<Page<Replica>>('replicas', (signal) => ask('/v1/admin/replicas', { signal }), everyMs);
  return h(
    'div',
    { class: 'whole' },
    h(Heading, { title: 'Replicas', about: replicas.value && plural(replicas.value.data.length, 'server') }),
    h(Loaded<Page<Replica>>, {
      resource: replicas,
      what: 'replicas',
      children: ({ data }) => h(Sheet, { label: 'Replicas', columns, rows: data.map(rowOf) }),
    }),
  );
}

const rowOf = (replica: Replica) => ({
  key: replica.id,
  cells: [
    h('code', { title: replica.id }, replica.id.slice(0, 8)),
    h(
      'span',
      { class: 'tags' },
      h(Lease, { seconds: replica.lease_seconds }),
      replica.is_this && h(Badge, { tone: 'accent' }, 'answers here'),
    ),
    h(Moment, { seconds: replica.started_at }),
    count(replica.changes_behind),
    count(replica.deletions_waiting),
    h(Facts, {
      facts: Object.entries(replica.status).map(([name, value]) => [name.replaceAll('_', ' '), word(value)] as const),
    }),
  ],
});

/** Shows a lease. The other servers no longer wait for a server whose lease has run out. */
function Lease({ seconds }: { seconds: number | null }) {
  if (seconds === null) return h(Badge, { tone: 'good' }, 'alone');
  if (seconds < 0) return h(Badge, { tone: 'bad' }, `silent for ${duration(-seconds)}`);
  return h(Badge, { tone: 'good' }, 'lives');
}

const word = (value: unknown): string =>
  typeof value === 'number' ? figure(value) : typeof value === 'string' ? value : JSON.stringify(value);
