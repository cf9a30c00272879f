// The versions of an adapter, newest first: facts, how each was made, and actions.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import type { Adapter, Alias } from '../../api/types.ts';
import { bytes, count } from '../../figures.ts';
import { Badge, Residency, StateBadge } from '../../parts/badge.ts';
import { Button, LinkButton } from '../../parts/button.ts';
import { Digest } from '../../parts/copy.ts';
import { Facts, Moment } from '../../parts/facts.ts';
import { Warning } from '../../parts/notes.ts';
import { href } from '../../state/route.ts';
import { DownloadButton } from './download.ts';
import { PromoteDialog } from './promote.ts';
import { ProvenanceOf } from './provenance.ts';
import { RemoveVersion } from './remove.ts';

type Props = {
  readonly name: string;
  readonly versions: readonly Adapter[];
  readonly aliases: readonly Alias[];
  readonly onChange: () => void;
};

export function Versions({ name, versions, aliases, onChange }: Props) {
  const [chosen, setChosen] = useState<{ what: 'promote' | 'remove'; version: Adapter } | null>(null);
  const close = () => setChosen(null);
  const done = () => {
    close();
    onChange();
  };
  return h(
    'div',
    { class: 'stack' },
    versions.map((version, i) =>
      h(VersionCard, {
        key: version.id,
        version,
        before: versions[i + 1] ?? null,
        isOpen: i === 0,
        onPromote: () => setChosen({ what: 'promote', version }),
        onRemove: () => setChosen({ what: 'remove', version }),
      }),
    ),
    chosen?.what === 'promote' &&
      h(PromoteDialog, { name, version: chosen.version.version, versions, aliases, onDone: done, onClose: close }),
    chosen?.what === 'remove' && h(RemoveVersion, { ...chosen.version, onDone: done, onClose: close }),
  );
}

type CardProps = {
  readonly version: Adapter;
  readonly before: Adapter | null;
  readonly isOpen: boolean;
  readonly onPromote: () => void;
  readonly onRemove: () => void;
};

function VersionCard({ version, before, isOpen, onPromote, onRemove }: CardProps) {
  const { id, aliases, state, warnings, source } = version;
  const targets = before === null ? ['', id] : ['', before.id, id];
  return h(
    'section',
    { class: 'card version', 'aria-label': id },
    h(
      'header',
      null,
      h('h2', null, `v${version.version}`),
      h('span', { class: 'tags' }, [
        ...aliases.map((alias) => h(Badge, { key: alias, tone: 'accent' }, alias)),
        state !== 'ready' && h(StateBadge, { key: 'state', state }),
      ]),
      h('span', { class: 'faint' }, source, ' ', h(Moment, { seconds: version.created_at })),
      h(
        'div',
        { class: 'actions' },
        h(LinkButton, { isSmall: true, icon: 'compare', href: href(['playground'], { target: targets }) }, 'Compare'),
        h(Button, { isSmall: true, icon: 'promote', isDisabled: state !== 'ready', onClick: onPromote }, 'Promote'),
        h(DownloadButton, { version }),
        h(Button, { isSmall: true, kind: 'quiet', icon: 'remove', label: `Delete ${id}`, onClick: onRemove }),
      ),
    ),
    warnings.map((warning) => h(Warning, { key: warning }, warning)),
    h(Facts, { facts: factsOf(version) }),
    source === 'training' && h(ProvenanceOf, { version, isOpen }),
  );
}

const factsOf = (version: Adapter) =>
  [
    ['Now in', h(Residency, version)],
    ...(version.virtual_tokens > 0
      ? ([['Virtual tokens', count(version.virtual_tokens)]] as const)
      : ([
          ['Rank', count(version.r)],
          ['Modules', version.target_modules.join(', ')],
        ] as const)),
    ['Parameters', count(version.parameters)],
    ['Weights', bytes(version.bytes)],
    ['Digest', h(Digest, { digest: version.digest })],
    ['Base', h(Digest, { digest: version.base_digest })],
    ['By', version.created_by === null ? 'a server without keys' : h('code', null, version.created_by)],
  ] as const;
