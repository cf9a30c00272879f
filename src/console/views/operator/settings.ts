// The server's settings and their origins.

import { h } from 'preact';
import { ask } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { Setting } from '../../api/types.ts';
import { Badge } from '../../parts/badge.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Sheet } from '../../parts/sheet.ts';
import { useResource } from '../../state/resource.ts';

const columns = [{ title: 'Setting' }, { title: 'Value' }, { title: 'Origin' }];

export function SettingsView() {
  const settings = useResource<Page<Setting>>('settings', (signal) => ask('/v1/admin/settings', { signal }));
  const row = ({ id, value, origin }: Setting) => ({
    key: id,
    cells: [h('code', null, id), value, h(Badge, { tone: origin === 'default' ? 'neutral' : 'accent' }, origin)],
  });
  return h(
    'div',
    { class: 'whole' },
    h(Heading, { title: 'Settings', about: 'Flags before the environment, before the file, before defaults' }),
    h(Loaded<Page<Setting>>, {
      resource: settings,
      what: 'settings',
      children: ({ data }) => h(Sheet, { label: 'Settings', columns, rows: data.map(row) }),
    }),
  );
}
