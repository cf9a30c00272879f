// The list of all adapters, which may be thousands: search, links, and uploads by dropping a folder anywhere.

import { h } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { readAll } from '../../api/pages.ts';
import type { Adapter } from '../../api/types.ts';
import { count, plural } from '../../figures.ts';
import { Button } from '../../parts/button.ts';
import { dropped } from '../../parts/dropped.ts';
import { Heading } from '../../parts/heading.ts';
import { Icon } from '../../parts/icons.ts';
import { lazy } from '../../parts/lazy.ts';
import { Loaded } from '../../parts/loaded.ts';
import { Empty } from '../../parts/notes.ts';
import { useResource } from '../../state/resource.ts';
import { AdapterTable } from './table.ts';
import type { Picked } from './upload.ts';

const UploadDialog = lazy('the dialog', async () => (await import('./upload.ts')).UploadDialog);

/** Time between two readings, in milliseconds: where weights are changes with the traffic. */
const everyMs = 15_000;

export function AdapterList() {
  const isShown = useRef(false);
  // The first reading is shown as it arrives; later ones replace the list when they are whole.
  const read = async (signal: AbortSignal, onPart: (so: Adapter[]) => void) => {
    const all = await readAll('/v1/adapters', signal, isShown.current ? undefined : onPart);
    isShown.current = true;
    return all;
  };
  const adapters = useResource<Adapter[]>('adapters', read, everyMs);
  const [search, setSearch] = useState('');
  const [picked, setPicked] = useState<Picked | null>(null);
  const add = () => setPicked({ files: [], folder: null });
  const drop = (event: DragEvent) => {
    event.preventDefault();
    if (picked === null && event.dataTransfer) void dropped(event.dataTransfer).then(setPicked);
  };
  const done = () => {
    setPicked(null);
    adapters.reload();
  };
  return h(
    'div',
    { class: 'whole', onDragOver: (event: DragEvent) => event.preventDefault(), onDrop: drop },
    h(
      Heading,
      { title: 'Adapters', about: adapters.value && plural(adapters.value.length, 'adapter') },
      h(Search, { search, onSearch: setSearch }),
      h(Button, { kind: 'primary', icon: 'upload', onClick: add }, 'Upload'),
    ),
    h(Loaded<Adapter[]>, {
      resource: adapters,
      what: 'adapters',
      rows: 10,
      children: (all) => (all.length === 0 ? h(None, { onAdd: add }) : h(Found, { all, search })),
    }),
    picked && h(UploadDialog, { picked, onDone: done, onClose: () => setPicked(null) }),
  );
}

const Search = ({ search, onSearch }: { search: string; onSearch: (text: string) => void }) =>
  h(
    'label',
    { class: 'search' },
    h(Icon, { name: 'search' }),
    h('span', { class: 'unseen' }, 'Search adapters'),
    h('input', {
      type: 'search',
      placeholder: 'Name, alias, digest, module',
      value: search,
      onInput: (event: { currentTarget: HTMLInputElement }) => onSearch(event.currentTarget.value),
    }),
  );

const wordsOf = (adapter: Adapter) =>
  [adapter.id, adapter.digest, adapter.source, ...adapter.aliases, ...adapter.target_modules].join(' ').toLowerCase();

function Found({ all, search }: { all: readonly Adapter[]; search: string }) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all.filter((adapter) => words.every((word) => wordsOf(adapter).includes(word)));
  if (found.length === 0) {
    return h(Empty, { icon: 'search', title: `None of ${count(all.length)} adapters has "${search}"` });
  }
  return h(AdapterTable, { adapters: found });
}

const None = ({ onAdd }: { onAdd: () => void }) =>
  h(
    Empty,
    { icon: 'adapters', title: 'No adapters yet' },
    h('p', null, 'Drop a folder here that PEFT saved, with adapter_config.json and adapter_model.safetensors.'),
    h(Button, { kind: 'primary', icon: 'upload', onClick: onAdd }, 'Upload an adapter'),
  );
