// Asks for a key.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { Button } from './parts/button.ts';
import { TextField } from './parts/fields.ts';
import { Mark } from './parts/mark.ts';
import { session, takeKey } from './state/session.ts';
import { useStore } from './state/store.ts';

export function SignIn() {
  const { wasRefused } = useStore(session);
  const [key, setKey] = useState('');
  const submit = (event: Event) => {
    event.preventDefault();
    if (key.trim() !== '') takeKey(key.trim());
  };
  const hint = 'Kept in this tab alone, and gone when it closes.';
  return h(
    'main',
    { class: 'sign-in' },
    h(
      'form',
      { onSubmit: submit },
      h(Mark, null),
      h('h1', null, 'Lorikeet'),
      wasRefused
        ? h('p', { class: 'note error', role: 'alert' }, 'The server does not take this key: it is wrong or revoked.')
        : h('p', { class: 'faint' }, 'This server asks for an API key.'),
      h(TextField, { label: 'API key', type: 'password', value: key, onChange: setKey, placeholder: 'lk_...', hint }),
      h(Button, { kind: 'primary', isSubmit: true }, 'Open the console'),
    ),
  );
}
