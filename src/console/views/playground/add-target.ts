// Adds a column, for any name that a request may have.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { Adapter } from '../../api/types.ts';
import { Button } from '../../parts/button.ts';
import { TextField } from '../../parts/fields.ts';
import { useResource } from '../../state/resource.ts';
import { base, parseTarget, type Target } from './targets.ts';

export function AddTarget({ onAdd }: { onAdd: (target: Target) => void }) {
  const [typed, setTyped] = useState('');
  const some = useResource<Page<Adapter>>('some', (signal) => ask('/v1/adapters?limit=100', { signal }));
  const submit = (event: Event) => {
    event.preventDefault();
    if (typed.trim() === '') return;
    onAdd(parseTarget(typed.trim()));
    setTyped('');
  };
  const names = (some.value?.data ?? []).flatMap(({ name, id, aliases }) => [
    name,
    id,
    ...aliases.map((alias) => `${name}:${alias}`),
  ]);
  return h(
    'form',
    { class: 'bar', onSubmit: submit },
    h(
      'datalist',
      { id: 'references' },
      names.map((name) => h('option', { key: name, value: name })),
    ),
    h(TextField, {
      ...{ label: 'Adapter, version or alias', value: typed, onChange: setTyped, list: 'references' },
      placeholder: 'name, name@2, name:prod',
    }),
    h(Button, { icon: 'add', isSubmit: true }, 'Add beside'),
    h(Button, { kind: 'quiet', onClick: () => onAdd(base) }, 'Add the base'),
  );
}
