// Merges: their memory, their share of the traffic, the cost of their rounding; and a form that makes one.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask, part } from '../../api/client.ts';
import type { Merge, MergeBody, MergeList } from '../../api/types.ts';
import { bytes } from '../../figures.ts';
import { Button } from '../../parts/button.ts';
import { Progress } from '../../parts/facts.ts';
import { Select, TextField } from '../../parts/fields.ts';
import { Card } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { ErrorNote } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';
import { useResource } from '../../state/resource.ts';
import { say } from '../../state/toasts.ts';
import { MergeTable } from './merge-table.ts';

const everyMs = 3000;

export function Merges() {
  const merges = useResource<MergeList>('merges', (signal) => ask('/v1/admin/merges', { signal }), everyMs);
  // The list's own note tells a user who may not merge, and nothing else repeats it.
  return h(
    Card,
    { title: 'Merges' },
    h(Loaded<MergeList>, {
      resource: merges,
      what: 'merges',
      rows: 2,
      children: ({ data, used_bytes, budget_bytes }) => [
        h(
          'div',
          { key: 'budget', class: 'sending' },
          h(Progress, { share: budget_bytes === 0 ? 0 : used_bytes / budget_bytes, label: 'Memory of merges' }),
          h('span', { class: 'faint' }, `${bytes(used_bytes)} of ${bytes(budget_bytes)}`),
        ),
        data.length > 0 && h(MergeTable, { key: 'table', merges: data, onChange: merges.reload }),
        h(NewMerge, { key: 'new', onChange: merges.reload }),
      ],
    }),
  );
}

/** Every width that the route takes. */
const widths: Readonly<Record<NonNullable<MergeBody['bits']>, string>> = { 4: '4', 8: '8', 16: '16', 32: '32' };
const widthOptions = [
  { value: '', label: "each linear's own" },
  ...Object.entries(widths).map(([value, label]) => ({ value, label })),
];

function NewMerge({ onChange }: { onChange: () => void }) {
  const [reference, setReference] = useState('');
  const [bits, setBits] = useState('');
  const action = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    if (reference.trim() === '') return;
    action.run(async () => {
      const path = `/v1/admin/adapters/${part(reference.trim())}/merge`;
      const body = bits === '' ? {} : { bits: Number(bits) };
      const merge = await ask<Merge>(path, { method: 'POST', body });
      say(`${merge.adapters[0]!.id} is being merged.`);
      setReference('');
      onChange();
    });
  };
  return h(
    'form',
    { class: 'stack', onSubmit: submit },
    h(
      'div',
      { class: 'bar' },
      h(TextField, {
        ...{ label: 'Merge an adapter', value: reference, onChange: setReference },
        placeholder: 'name, name@2, name:prod',
      }),
      h(Select, { label: 'Bits', value: bits, onChange: setBits, options: widthOptions }),
      h(Button, { isSubmit: true, icon: 'merge', isBusy: action.isRunning }, 'Merge'),
    ),
    h('p', { class: 'faint' }, "Its requests then run at the base's speed, in memory of their own."),
    action.error && h(ErrorNote, { error: action.error }),
  );
}
