// The aliases of an adapter: where each points, a slider for a canary's share, and a rollback.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import type { Adapter, Alias } from '../../api/types.ts';
import { percent } from '../../figures.ts';
import { Button } from '../../parts/button.ts';
import { Moment } from '../../parts/facts.ts';
import { Select, Slider } from '../../parts/fields.ts';
import { Empty, ErrorNote } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';
import { formerTargets, moveAlias, removeAlias, sharesOf, type Target, targetsText } from './alias-change.ts';
import { PromoteDialog } from './promote.ts';

type Props = {
  readonly name: string;
  readonly versions: readonly Adapter[];
  readonly aliases: readonly Alias[];
  readonly onChange: () => void;
};

export function Aliases({ name, versions, aliases, onChange }: Props) {
  const [isAdding, setAdding] = useState(false);
  const close = () => setAdding(false);
  const add = h(Button, { icon: 'add', onClick: () => setAdding(true) }, 'New alias');
  const done = () => {
    close();
    onChange();
  };
  return h(
    'div',
    { class: 'stack' },
    aliases.length === 0
      ? h(
          Empty,
          { icon: 'promote', title: 'No aliases yet' },
          h('p', null, `Callers ask for ${name}:prod, and you decide which version that is.`),
          add,
        )
      : [
          ...aliases.map((alias) => h(AliasCard, { key: alias.id + alias.revision, alias, versions, onChange })),
          h('div', { key: 'add' }, add),
        ],
    isAdding &&
      h(PromoteDialog, {
        ...{ name, versions, aliases: [], onDone: done, onClose: close },
        version: versions[0]?.version ?? 1,
      }),
  );
}

type CardProps = { readonly alias: Alias; readonly versions: readonly Adapter[]; readonly onChange: () => void };

function AliasCard({ alias, versions, onChange }: CardProps) {
  const action = useAction();
  const { name } = alias;
  const shares = sharesOf(alias.targets);
  const former = formerTargets(alias, versions);
  const move = (targets: readonly Target[]) =>
    action.run(() => moveAlias({ name, alias: alias.alias, targets, before: alias, onChange }));
  const remove = () => action.run(() => removeAlias(alias).then(onChange));
  return h(
    'section',
    { class: 'card alias', 'aria-label': alias.id },
    h(
      'header',
      null,
      h('h2', null, alias.alias),
      h('code', { class: 'faint' }, alias.id),
      h('span', { class: 'faint' }, 'moved ', h(Moment, { seconds: alias.updated_at })),
      h(
        'div',
        { class: 'actions' },
        former !== null &&
          h(
            Button,
            { isSmall: true, icon: 'rollback', isBusy: action.isRunning, onClick: () => move(former) },
            `Roll back to ${targetsText(former)}`,
          ),
        h(Button, { isSmall: true, kind: 'quiet', icon: 'remove', label: `Delete ${alias.id}`, onClick: remove }),
      ),
    ),
    h(Shares, { shares }),
    h(Canary, { shares, versions, isBusy: action.isRunning, onMove: move }),
    action.error && h(ErrorNote, { error: action.error, onRetry: onChange }),
  );
}

const Shares = ({ shares }: { shares: readonly (Target & { share: number })[] }) =>
  h(
    'ul',
    { class: 'shares' },
    shares.map(({ version, share }, i) =>
      h(
        'li',
        { key: version, class: `share-${i % 4}`, style: { flexGrow: Math.max(share, 0.04) } },
        h('strong', null, `v${version}`),
        ` ${percent(share)}`,
      ),
    ),
  );

type CanaryProps = {
  readonly shares: readonly (Target & { share: number })[];
  readonly versions: readonly Adapter[];
  readonly isBusy: boolean;
  readonly onMove: (targets: readonly Target[]) => void;
};

/** Chooses the share of one version beside the version with the largest share. */
function Canary({ shares, versions, isBusy, onMove }: CanaryProps) {
  const main = shares[0]!.version;
  const ready = versions.filter(({ version, state }) => version !== main && state === 'ready');
  const [chosen, setChosen] = useState(String(shares[1]?.version ?? ready[0]?.version ?? ''));
  const now = Math.round((shares.find(({ version }) => String(version) === chosen)?.share ?? 0) * 100);
  const [moved, setShare] = useState<number | null>(null);
  if (ready.length === 0) return null;
  const share = moved ?? now;
  const apply = () => {
    const [canary, rest] = [
      { version: Number(chosen), weight: share / 100 },
      { version: main, weight: 1 - share / 100 },
    ];
    onMove(share === 0 ? [{ ...rest, weight: 1 }] : share === 100 ? [{ ...canary, weight: 1 }] : [canary, rest]);
  };
  return h(
    'div',
    { class: 'canary' },
    h(Select, {
      label: 'Canary',
      value: chosen,
      onChange: setChosen,
      options: ready.map(({ version }) => ({ value: String(version), label: `v${version}` })),
    }),
    h(Slider, {
      label: 'Share of requests',
      ...{ min: 0, max: 100, step: 1, value: share, onChange: setShare },
      shown: `${share} %`,
    }),
    h(Button, { kind: 'primary', isDisabled: share === now, isBusy, onClick: apply }, 'Apply'),
  );
}
