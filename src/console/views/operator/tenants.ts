// Tenants: their quotas, and whether their keys are refused.

import { h } from 'preact';
import { ask, part } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { Tenant } from '../../api/types.ts';
import { figure, plural } from '../../figures.ts';
import { Badge } from '../../parts/badge.ts';
import { Button } from '../../parts/button.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Empty, ErrorNote } from '../../parts/notes.ts';
import { Sheet } from '../../parts/sheet.ts';
import { useAction } from '../../state/action.ts';
import { useResource } from '../../state/resource.ts';
import { say } from '../../state/toasts.ts';

const columns = [{ title: 'Tenant' }, { title: 'State' }, { title: 'Quota' }, { title: '' }];

export function TenantsView() {
  const tenants = useResource<Page<Tenant>>('tenants', (signal) => ask('/v1/admin/tenants', { signal }));
  const action = useAction();
  const set = (id: string, disabled: boolean) =>
    action.run(async () => {
      await ask(`/v1/admin/tenants/${part(id)}`, { method: 'PUT', body: { disabled } });
      const undo = () => set(id, !disabled);
      say(disabled ? `Keys of ${id} are refused.` : `Keys of ${id} are taken.`, undo);
      tenants.reload();
    });
  const row = (tenant: Tenant) => ({
    key: tenant.id,
    cells: [
      tenant.id,
      tenant.disabled_at === null ? h(Badge, { tone: 'good' }, 'open') : h(Badge, { tone: 'bad' }, 'refused'),
      quotaText(tenant),
      h(
        'div',
        { class: 'actions end' },
        h(
          Button,
          { isSmall: true, isBusy: action.isRunning, onClick: () => set(tenant.id, tenant.disabled_at === null) },
          tenant.disabled_at === null ? 'Refuse its keys' : 'Take its keys',
        ),
      ),
    ],
  });
  return h(
    'div',
    { class: 'whole' },
    h(Heading, { title: 'Tenants', about: tenants.value && plural(tenants.value.data.length, 'tenant') }),
    action.error && h(ErrorNote, { error: action.error }),
    h(Loaded<Page<Tenant>>, {
      resource: tenants,
      what: 'tenants',
      children: ({ data }) =>
        data.length === 0
          ? h(Empty, { icon: 'tenants', title: 'No tenants yet' })
          : h(Sheet, { label: 'Tenants', columns, rows: data.map(row) }),
    }),
  );
}

const quotaText = ({ quota }: Tenant): string =>
  quota === null
    ? "the server's own"
    : Object.entries(quota)
        .map(([name, value]) => `${name.replaceAll('_', ' ')} ${figure(value ?? 0)}`)
        .join(', ');
