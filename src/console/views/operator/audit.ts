// The audit log, newest entry first.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { AuditEntry } from '../../api/types.ts';
import { Button } from '../../parts/button.ts';
import { Moment } from '../../parts/facts.ts';
import { TextField } from '../../parts/fields.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Empty } from '../../parts/notes.ts';
import { Sheet } from '../../parts/sheet.ts';
import { useResource } from '../../state/resource.ts';

type Filter = { readonly actor: string; readonly action: string; readonly tenant: string };

const columns = [
  { title: 'Action' },
  { title: 'Target' },
  { title: 'When' },
  { title: 'By' },
  { title: 'Tenant', isMinor: true },
  { title: 'From', isMinor: true },
  { title: 'Change' },
];

export function AuditView() {
  const [typed, setTyped] = useState<Filter>({ actor: '', action: '', tenant: '' });
  const [query, setQuery] = useState('');
  const [limit, setLimit] = useState(100);
  const path = `/v1/admin/audit?limit=100${query}`;
  const read = async (signal: AbortSignal) => {
    let page = await ask<Page<AuditEntry>>(path, { signal });
    const data = [...page.data];
    while (page.has_more && data.length < limit) {
      page = await ask<Page<AuditEntry>>(`${path}&after=${page.last_id}`, { signal });
      data.push(...page.data);
    }
    return { ...page, data };
  };
  const entries = useResource<Page<AuditEntry>>(`${path} ${limit}`, read);
  const submit = (event: Event) => {
    event.preventDefault();
    const set = Object.entries(typed).filter(([, text]) => text.trim() !== '');
    setQuery(set.map(([name, text]) => `&${name}=${encodeURIComponent(text.trim())}`).join(''));
  };
  const field = (name: keyof Filter, label: string, placeholder: string) =>
    h(TextField, {
      ...{ label, placeholder, value: typed[name] },
      onChange: (text: string) => setTyped({ ...typed, [name]: text }),
    });
  return h(
    'div',
    { class: 'whole' },
    h(Heading, { title: 'Audit' }),
    h(
      'form',
      { class: 'bar', onSubmit: submit },
      field('action', 'Action', 'aliases.set'),
      field('actor', 'By', 'a key, admin'),
      field('tenant', 'Tenant', 'all'),
      h(Button, { isSubmit: true, icon: 'search' }, 'Find'),
    ),
    h(Loaded<Page<AuditEntry>>, {
      resource: entries,
      what: 'changes',
      children: ({ data, has_more }) => [
        data.length === 0
          ? h(Empty, { key: 'none', icon: 'audit', title: 'Nothing was changed' })
          : h(Sheet, { key: 'rows', label: 'Changes', columns, rows: data.map(rowOf) }),
        has_more && h('div', { key: 'more' }, h(Button, { onClick: () => setLimit(limit + 100) }, 'Older ones')),
      ],
    }),
  );
}

const rowOf = ({ id, at, tenant, actor, ip, action, target, before, after }: AuditEntry) => ({
  key: id,
  cells: [
    action,
    h('code', null, target),
    h(Moment, { seconds: at }),
    actor,
    tenant,
    ip ?? '',
    h(
      'details',
      null,
      h('summary', null, 'Before and after'),
      h('pre', null, `${JSON.stringify(before, null, 2)}\n${JSON.stringify(after, null, 2)}`),
    ),
  ],
});
