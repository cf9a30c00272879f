// Keys of all tenants: makes, rotates and revokes them.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask, part } from '../../api/client.ts';
import { readAll } from '../../api/pages.ts';
import type { Key, NewKey } from '../../api/types.ts';
import { plural } from '../../figures.ts';
import { Badge, StateBadge } from '../../parts/badge.ts';
import { Button } from '../../parts/button.ts';
import { Confirm } from '../../parts/dialog.ts';
import { Moment } from '../../parts/facts.ts';
import { Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Empty, ErrorNote } from '../../parts/notes.ts';
import { Sheet } from '../../parts/sheet.ts';
import { useAction } from '../../state/action.ts';
import { useResource } from '../../state/resource.ts';
import { say } from '../../state/toasts.ts';
import { now } from '../../time.ts';
import { KeyOnce, NewKeyDialog } from './new-key.ts';

type Open = { readonly what: 'new' } | { readonly what: 'revoke'; readonly key: Key } | null;

const columns = [
  { title: 'Key' },
  { title: 'Tenant' },
  { title: 'For' },
  { title: 'Scopes', isMinor: true },
  { title: 'Adapters', isMinor: true },
  { title: 'Last used', isMinor: true },
  { title: 'State' },
  { title: '' },
];

export function KeysView() {
  const keys = useResource<Key[]>('keys', (signal) => readAll('/v1/admin/keys', signal));
  const [open, setOpen] = useState<Open>(null);
  const [made, setMade] = useState<NewKey | null>(null);
  const action = useAction();
  const close = () => setOpen(null);
  const rotate = (key: Key) =>
    action.run(async () => {
      setMade(await ask<NewKey>(`/v1/admin/keys/${part(key.id)}/rotate`, { method: 'POST', body: {} }));
      keys.reload();
    });
  const revoke = (key: Key) =>
    action.run(async () => {
      await ask(`/v1/admin/keys/${part(key.id)}`, { method: 'DELETE' });
      say(`Key ${key.id} is revoked.`);
      close();
      keys.reload();
    });
  const created = (key: NewKey) => {
    close();
    setMade(key);
    keys.reload();
  };
  return h(
    'div',
    { class: 'whole' },
    h(
      Heading,
      { title: 'Keys', about: keys.value && plural(keys.value.length, 'key') },
      h(Button, { kind: 'primary', icon: 'add', onClick: () => setOpen({ what: 'new' }) }, 'New key'),
    ),
    action.error && open === null && h(ErrorNote, { error: action.error }),
    h(Loaded<Key[]>, {
      resource: keys,
      what: 'keys',
      children: (all) => {
        if (all.length === 0) return h(Empty, { icon: 'keys', title: 'No keys yet' });
        const rows = all.map((key) => ({
          key: key.id,
          cells: [...cellsOf(key), h(KeyActions, { value: key, onRotate: rotate, onRevoke: setRevoked })],
        }));
        return h(Sheet, { label: 'Keys', columns, rows });
      },
    }),
    open?.what === 'new' && h(NewKeyDialog, { onMade: created, onClose: close }),
    made && h(KeyOnce, { made, onClose: () => setMade(null) }),
    open?.what === 'revoke' &&
      h(
        Confirm,
        {
          ...{ title: `Revoke ${open.key.id}?`, word: 'Revoke', isBusy: action.isRunning, onClose: close },
          onConfirm: () => revoke(open.key),
        },
        h('p', null, 'Whoever uses it is refused from now on. It cannot be taken back.'),
        action.error && h(ErrorNote, { error: action.error }),
      ),
  );

  function setRevoked(key: Key): void {
    setOpen({ what: 'revoke', key });
  }
}

const stateOf = ({ revoked_at, expires_at }: Key): string => {
  if (revoked_at !== null) return 'revoked';
  return expires_at !== null && expires_at * 1000 < now() ? 'expired' : 'active';
};

const cellsOf = (key: Key) => [
  h('code', null, key.id),
  key.tenant,
  key.name,
  h(
    'span',
    { class: 'tags' },
    key.scopes.map((scope) => h(Badge, { key: scope }, scope)),
  ),
  key.adapters === null ? 'all' : key.adapters.join(', '),
  key.last_used_at === null ? 'never' : h(Moment, { seconds: key.last_used_at }),
  h(
    'span',
    { class: 'tags' },
    h(StateBadge, { state: stateOf(key) }),
    key.expires_at !== null && h('span', { class: 'faint' }, 'ends ', h(Moment, { seconds: key.expires_at })),
  ),
];

type ActionsProps = {
  readonly value: Key;
  readonly onRotate: (key: Key) => void;
  readonly onRevoke: (key: Key) => void;
};

function KeyActions({ value, onRotate, onRevoke }: ActionsProps) {
  if (value.revoked_at !== null) return null;
  return h(
    'div',
    { class: 'actions end' },
    h(Button, { isSmall: true, onClick: () => onRotate(value) }, 'Rotate'),
    h(Button, { isSmall: true, onClick: () => onRevoke(value) }, 'Revoke'),
  );
}
