// One adapter: its versions, its aliases, its analysis.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask, part } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { Adapter, Alias } from '../../api/types.ts';
import { plural } from '../../figures.ts';
import { Button, LinkButton } from '../../parts/button.ts';
import { Heading, Tabs } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { useResource } from '../../state/resource.ts';
import { href } from '../../state/route.ts';
import { Aliases } from './aliases.ts';
import { Analysis } from './analysis.ts';
import { RemoveAdapter } from './remove.ts';
import { UploadDialog } from './upload.ts';
import { Versions } from './versions.ts';

export type Whole = { readonly versions: readonly Adapter[]; readonly aliases: readonly Alias[] };

async function read(name: string, signal: AbortSignal): Promise<Whole> {
  const at = `/v1/adapters/${part(name)}`;
  const [versions, aliases] = await Promise.all([
    ask<Page<Adapter>>(`${at}/versions`, { signal }),
    ask<Page<Alias>>(`${at}/aliases`, { signal }),
  ]);
  return { versions: versions.data, aliases: aliases.data };
}

const tabs = ['versions', 'aliases', 'analysis'] as const;
const titles = { versions: 'Versions', aliases: 'Aliases', analysis: 'Analysis' };

export function OneAdapter({ name, tab }: { name: string; tab: string }) {
  const whole = useResource<Whole>(name, (signal) => read(name, signal));
  const [dialog, setDialog] = useState<'upload' | 'remove' | null>(null);
  const close = () => setDialog(null);
  const changed = () => {
    close();
    whole.reload();
  };
  const newest = whole.value?.versions[0];
  const targets = newest === undefined ? [''] : ['', newest.id];
  return h(
    'div',
    { class: 'whole' },
    h(
      Heading,
      {
        title: name,
        above: { title: 'Adapters', href: href(['adapters']) },
        about: whole.value && plural(whole.value.versions.length, 'version'),
      },
      h(LinkButton, { icon: 'compare', href: href(['playground'], { target: targets }) }, 'Compare with base'),
      h(Button, { icon: 'upload', onClick: () => setDialog('upload') }, 'New version'),
      h(Button, { kind: 'quiet', icon: 'remove', label: 'Delete the adapter', onClick: () => setDialog('remove') }),
    ),
    h(Tabs, {
      label: name,
      tabs: tabs.map((one) => ({
        title: titles[one],
        href: href(one === 'versions' ? ['adapters', name] : ['adapters', name, one]),
        isCurrent: one === tab,
      })),
    }),
    h(Loaded<Whole>, {
      resource: whole,
      what: name,
      children: (value) => {
        if (tab === 'analysis') return h(Analysis, { versions: value.versions });
        if (tab === 'aliases') return h(Aliases, { name, ...value, onChange: changed });
        return h(Versions, { name, ...value, onChange: changed });
      },
    }),
    dialog === 'upload' &&
      h(UploadDialog, { picked: { files: [], folder: null }, name, onDone: changed, onClose: close }),
    dialog === 'remove' && h(RemoveAdapter, { name, onClose: close }),
  );
}
