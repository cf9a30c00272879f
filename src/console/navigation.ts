// Shows the links to the views, the server's state, the theme and the key in use.

import { h } from 'preact';
import { Button } from './parts/button.ts';
import { Icon } from './parts/icons.ts';
import { Mark } from './parts/mark.ts';
import { useOperatorViews } from './state/offered.ts';
import { href, route } from './state/route.ts';
import { baseModel, type Readiness, readiness } from './state/server.ts';
import { forgetKey, session } from './state/session.ts';
import { useStore } from './state/store.ts';
import { nextTheme, theme } from './state/theme.ts';
import { type Place, places } from './views/places.ts';

export function Navigation() {
  const { parts } = useStore(route);
  const offered = useOperatorViews();
  const current = parts[0] ?? 'adapters';
  const link = ({ name, title, icon }: Place) =>
    h(
      'li',
      { key: name },
      h(
        'a',
        { href: href([name]), 'aria-current': current === name ? 'page' : undefined },
        h(Icon, { name: icon }),
        h('span', null, title),
      ),
    );
  const operators = places.filter(({ name, needs }) => needs !== undefined && offered.has(name));
  return h(
    'div',
    { class: 'side' },
    h('a', { class: 'brand', href: href(['adapters']) }, h(Mark, null), h('span', null, 'Lorikeet')),
    h(
      'nav',
      { 'aria-label': 'Views' },
      h('ul', null, places.filter(({ needs }) => needs === undefined).map(link)),
      operators.length > 0 && h('ul', { class: 'operators' }, operators.map(link)),
    ),
    h(Foot, null),
  );
}

function Foot() {
  const model = useStore(baseModel);
  const state = useStore(readiness);
  const { key } = useStore(session);
  const shade = useStore(theme);
  const icon = { system: 'system', light: 'sun', dark: 'moon' } as const;
  return h(
    'div',
    { class: 'foot' },
    h(
      'div',
      { class: 'serving' },
      h('strong', { title: model?.root }, model?.id ?? 'Base model'),
      h(ServerState, { state }),
    ),
    h(
      'div',
      { class: 'row' },
      h(Button, { kind: 'quiet', icon: icon[shade], label: `Theme: ${shade}`, onClick: nextTheme }),
      key !== null &&
        h(Button, { kind: 'quiet', isSmall: true, onClick: forgetKey }, `Forget key ${key.split('_')[1] ?? ''}`),
    ),
  );
}

/** A state without a reason; the styles have a colour for each. */
const words: Readonly<Record<Readiness['status'], string>> = {
  ok: 'ready',
  degraded: 'degraded',
  unavailable: 'not ready',
  unreachable: 'does not answer',
};

function ServerState({ state }: { state: Readiness | null }) {
  const text = state === null ? 'asking' : (state.reasons[0]?.replaceAll('_', ' ') ?? words[state.status]);
  return h('span', { class: `server ${state?.status ?? ''}`, role: 'status' }, text);
}
