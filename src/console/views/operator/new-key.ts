// Makes a key: its tenant, its rights, its end. The key is shown once.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../../api/client.ts';
import type { NewKey } from '../../api/types.ts';
import { Button } from '../../parts/button.ts';
import { CopyButton } from '../../parts/copy.ts';
import { Dialog } from '../../parts/dialog.ts';
import { Check, TextField } from '../../parts/fields.ts';
import { ErrorNote, Warning } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';
import { now } from '../../time.ts';

/** The scopes of src/tenants/scopes.ts. */
const scopes = ['generate', 'adapters', 'train', 'admin', 'metrics', 'operator'];
const daySeconds = 86_400;

type Props = { readonly onMade: (key: NewKey) => void; readonly onClose: () => void };

export function NewKeyDialog({ onMade, onClose }: Props) {
  const [tenant, setTenant] = useState('default');
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<readonly string[]>(['generate']);
  const [adapters, setAdapters] = useState('');
  const [days, setDays] = useState('');
  const action = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      const names = adapters.split(/[\s,]+/).filter(Boolean);
      const body = {
        ...{ tenant, name, scopes: chosen },
        ...(names.length === 0 ? {} : { adapters: names }),
        ...(days === '' ? {} : { expires_at: Math.floor(now() / 1000) + Number(days) * daySeconds }),
      };
      onMade(await ask<NewKey>('/v1/admin/keys', { method: 'POST', body }));
    });
  };
  const choose = (scope: string, isChosen: boolean) =>
    setChosen(isChosen ? [...chosen, scope] : chosen.filter((one) => one !== scope));
  return h(
    Dialog,
    { title: 'New key', onClose },
    h(
      'form',
      { class: 'stack', onSubmit: submit },
      h(TextField, { label: 'Tenant', value: tenant, onChange: setTenant, isRequired: true }),
      h(TextField, { label: 'What it is for', value: name, onChange: setName }),
      h(
        'fieldset',
        { class: 'field' },
        h('legend', null, 'Scopes'),
        h(
          'div',
          { class: 'row' },
          scopes.map((scope) =>
            h(Check, {
              ...{ key: scope, label: scope, value: chosen.includes(scope) },
              onChange: (isChosen: boolean) => choose(scope, isChosen),
            }),
          ),
        ),
      ),
      h(TextField, {
        ...{ label: 'Adapters', value: adapters, onChange: setAdapters, placeholder: 'all' },
        hint: 'Names that it may use; org/* is all that begin so.',
      }),
      h(TextField, { label: 'Days until it ends', type: 'number', min: 1, value: days, onChange: setDays }),
      action.error && h(ErrorNote, { error: action.error }),
      h(
        Button,
        { kind: 'primary', isSubmit: true, isBusy: action.isRunning, isDisabled: chosen.length === 0 },
        'Make the key',
      ),
    ),
  );
}

export const KeyOnce = ({ made, onClose }: { made: NewKey; onClose: () => void }) =>
  h(
    Dialog,
    { title: `Key ${made.id}`, onClose },
    h(Warning, null, 'This is the only time that it is shown. The server keeps no copy.'),
    h('code', { class: 'secret' }, made.key),
    h('footer', null, h(CopyButton, { word: 'Copy', text: () => made.key })),
  );
