// The merges, each with its quality: merged against unmerged on a few texts.

import { h } from 'preact';
import { ask, part } from '../../api/client.ts';
import type { Merge } from '../../api/types.ts';
import { bytes, figure, percent } from '../../figures.ts';
import { Badge, StateBadge } from '../../parts/badge.ts';
import { Button, LinkButton } from '../../parts/button.ts';
import { Progress } from '../../parts/facts.ts';
import { type Column, Sheet } from '../../parts/sheet.ts';
import { useAction } from '../../state/action.ts';
import { href } from '../../state/route.ts';
import { say } from '../../state/toasts.ts';

type Props = { readonly merges: readonly Merge[]; readonly onChange: () => void };

const columns: readonly Column[] = [
  { title: 'Adapter' },
  { title: 'State' },
  ...['Bits', 'Memory', 'Traffic', 'Mean KL', 'Top 1 agrees'].map((title) => ({ title, isNumber: true })),
  { title: '' },
];

export const MergeTable = ({ merges, onChange }: Props) =>
  h(Sheet, {
    label: 'Merges',
    isInCard: true,
    columns,
    rows: merges.map((merge) => ({ key: merge.id, cells: cellsOf(merge, onChange) })),
  });

function cellsOf(merge: Merge, onChange: () => void) {
  const { adapters, state, progress, bits, share, quality, automatic, error } = merge;
  return [
    adapters.map(({ id, weight }) => (weight === 1 ? id : `${id} × ${weight}`)).join(' + '),
    [
      h('span', { class: 'tags' }, h(StateBadge, { state }), automatic && h(Badge, null, 'automatic')),
      state === 'merging' && h(Progress, { share: progress, label: 'Merging' }),
      error && h('p', { class: 'faint' }, error.message),
    ],
    bits === null ? 'own' : String(bits),
    memoryOf(merge),
    percent(share, 1),
    quality === null ? '' : figure(quality.mean_kl),
    quality === null ? '' : percent(quality.top1_agreement, 1),
    h(MergeActions, { merge, onChange }),
  ];
}

function MergeActions({ merge: { id, adapters }, onChange }: { merge: Merge; onChange: () => void }) {
  const action = useAction();
  const [first] = adapters;
  const unmerge = () =>
    action.run(async () => {
      const path = `/v1/admin/adapters/${part(first!.id)}/merge?merge=${part(id)}`;
      await ask(path, { method: 'DELETE' }).then(
        () => say(`${first!.id} is unmerged.`),
        (cause: Error) => say(cause.message),
      );
      onChange();
    });
  const target = href(['playground'], { target: [first!.id, `${first!.id}*unmerged`] });
  return h(
    'div',
    { class: 'actions end' },
    adapters.length === 1 && h(LinkButton, { isSmall: true, icon: 'compare', href: target }, 'Compare'),
    h(Button, { isSmall: true, isBusy: action.isRunning, onClick: unmerge }, 'Unmerge'),
  );
}

const memoryOf = ({ bytes: taken, seconds }: Merge): string =>
  taken === null ? '' : `${bytes(taken)}${seconds === null ? '' : ` in ${figure(seconds)} s`}`;
