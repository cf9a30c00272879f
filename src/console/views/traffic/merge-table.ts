// The merges there are, each with its report: merged against unmerged on a few texts.

import { h } from 'preact';
import { ask, part } from '../../api/client.ts';
import type { Merge } from '../../api/types.ts';
import { bytes, figure, percent } from '../../figures.ts';
import { Badge, StateBadge } from '../../parts/badge.ts';
import { Button, LinkButton } from '../../parts/button.ts';
import { Progress } from '../../parts/facts.ts';
import { useAction } from '../../state/action.ts';
import { href } from '../../state/route.ts';
import { say } from '../../state/toasts.ts';

type Props = { readonly merges: readonly Merge[]; readonly onChange: () => void };

const titles = ['Adapter', 'State', 'Bits', 'Memory', 'Traffic', 'Mean KL', 'Top 1 agrees', ''];
const firstNumber = 2;

export function MergeTable({ merges, onChange }: Props) {
  const head = (title: string, i: number) =>
    title === ''
      ? h('td', { key: 'actions' })
      : h('th', { key: title, scope: 'col', class: i >= firstNumber ? 'number' : '' }, title);
  return h(
    'div',
    { class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Merges' },
    h(
      'table',
      null,
      h('thead', null, h('tr', null, titles.map(head))),
      h(
        'tbody',
        null,
        merges.map((merge) => h(MergeRow, { key: merge.id, merge, onChange })),
      ),
    ),
  );
}

function MergeRow({ merge, onChange }: { merge: Merge; onChange: () => void }) {
  const { adapters, state, progress, bits, share, quality, automatic, error } = merge;
  const action = useAction();
  const [first] = adapters;
  const unmerge = () =>
    action.run(async () => {
      const path = `/v1/admin/adapters/${part(first!.id)}/merge?merge=${part(merge.id)}`;
      await ask(path, { method: 'DELETE' }).then(
        () => say(`${first!.id} is unmerged.`),
        (cause: Error) => say(cause.message),
      );
      onChange();
    });
  const number = (text: string) => h('td', { class: 'number' }, text);
  const target = href(['playground'], { target: [first!.id, `${first!.id}*unmerged`] });
  return h(
    'tr',
    null,
    h('th', { scope: 'row' }, adapters.map(({ id, weight }) => (weight === 1 ? id : `${id} × ${weight}`)).join(' + ')),
    h(
      'td',
      null,
      h('span', { class: 'tags' }, h(StateBadge, { state }), automatic && h(Badge, null, 'automatic')),
      state === 'merging' && h(Progress, { share: progress, label: 'Merging' }),
      error && h('p', { class: 'faint' }, error.message),
    ),
    number(bits === null ? 'own' : String(bits)),
    number(memoryOf(merge)),
    number(percent(share, 1)),
    number(quality === null ? '' : figure(quality.mean_kl)),
    number(quality === null ? '' : percent(quality.top1_agreement, 1)),
    h(
      'td',
      null,
      h(
        'div',
        { class: 'actions end' },
        adapters.length === 1 && h(LinkButton, { isSmall: true, icon: 'compare', href: target }, 'Compare'),
        h(Button, { isSmall: true, isBusy: action.isRunning, onClick: unmerge }, 'Unmerge'),
      ),
    ),
  );
}

const memoryOf = ({ bytes: taken, seconds }: Merge): string =>
  taken === null ? '' : `${bytes(taken)}${seconds === null ? '' : ` in ${figure(seconds)} s`}`;
