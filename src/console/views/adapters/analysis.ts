// What a version changes: size by layer and module, singular values, similarity to another adapter.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask, part } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { Adapter, Analysis as AnalysisAnswer } from '../../api/types.ts';
import { Button } from '../../parts/button.ts';
import { Select, TextField } from '../../parts/fields.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Warning } from '../../parts/notes.ts';
import { useResource } from '../../state/resource.ts';
import { Pictures } from './analysis-pictures.ts';

export function Analysis({ versions }: { versions: readonly Adapter[] }) {
  const [version, setVersion] = useState(versions[0]?.id ?? '');
  const [typed, setTyped] = useState('');
  const [against, setAgainst] = useState('');
  const query = against === '' ? '' : `?against=${part(against)}`;
  const path = `/v1/adapters/${part(version)}/analysis${query}`;
  const analysis = useResource<AnalysisAnswer>(path, (signal) => ask(path, { signal }));
  const others = useResource<Page<Adapter>>('some', (signal) => ask('/v1/adapters?limit=100', { signal }));
  const submit = (event: Event) => {
    event.preventDefault();
    setAgainst(typed.trim());
  };
  return h(
    'div',
    { class: 'stack' },
    h(
      'form',
      { class: 'bar', onSubmit: submit },
      h(Select, {
        label: 'Version',
        value: version,
        onChange: setVersion,
        options: versions.map(({ id }) => ({ value: id, label: id })),
      }),
      h(
        'datalist',
        { id: 'others' },
        [...versions, ...(others.value?.data ?? [])].map(({ id }) => h('option', { key: id, value: id })),
      ),
      h(TextField, {
        label: 'Compare directions with',
        value: typed,
        onChange: setTyped,
        list: 'others',
        placeholder: 'another adapter or version',
      }),
      h(Button, { isSubmit: true, isBusy: analysis.isLoading && analysis.value === null }, 'Compare'),
    ),
    h(Loaded<AnalysisAnswer>, {
      resource: analysis,
      what: 'the analysis; the first time it takes seconds',
      rows: 8,
      children: (value) => [
        value.uses_dora && h(Warning, { key: 'dora' }, 'DoRA: the figures are of s B A alone, before magnitudes.'),
        h(Pictures, { key: value.id + value.against?.id, analysis: value }),
      ],
    }),
  );
}
