// One linear in detail: its singular values among those of all layers, and the directions that it shares with
// another's.

import { h } from 'preact';
import type { LinearAnalysis } from '../../api/types.ts';
import { figure } from '../../figures.ts';
import { Facts } from '../../parts/facts.ts';
import { Heat, Scale } from '../../parts/heat.ts';

type Props = {
  readonly linear: LinearAnalysis;
  readonly linears: readonly LinearAnalysis[];
  readonly against: string | null;
  readonly id: string;
};

export function LinearPictures({ linear, linears, against, id }: Props) {
  const { r, scaling, frobenius_norm, effective_rank, stable_rank, amplification, similarity } = linear;
  const same = linears.filter(({ module }) => module === linear.module);
  return h(
    'div',
    { class: 'linear' },
    h(Facts, {
      facts: [
        ['Rank', String(r)],
        ['Effective rank', figure(effective_rank)],
        ['Stable rank', figure(stable_rank)],
        ['Norm', figure(frobenius_norm)],
        ['Scaling', figure(scaling)],
        ['Amplification', amplification === null ? 'none' : figure(amplification)],
      ],
    }),
    h(
      'figure',
      null,
      h('figcaption', null, 'Singular values; faint: the same module in other layers'),
      h(Spectrum, { chosen: linear, all: same }),
    ),
    similarity &&
      (['input', 'output'] as const).map((side) =>
        h(
          'figure',
          { key: side },
          h('figcaption', null, `Shared ${side} directions, phi(i, j)`),
          h(Heat, {
            label: `phi of ${side} directions of ${id} and ${against}`,
            rows: similarity[side].own.map(String),
            columns: similarity[side].other.map(String),
            value: (i, j) => similarity[side].phi[i]?.[j] ?? null,
            ...{ most: 1, cell: 22, rowTitle: 'i =', columnTitle: `j of ${against}` },
          }),
          h(Scale, { most: 1, digits: '1: the same' }),
        ),
      ),
  );
}

const box = { width: 340, height: 180, left: 40, bottom: 22, top: 8 };

function Spectrum({ chosen, all }: { chosen: LinearAnalysis; all: readonly LinearAnalysis[] }) {
  const most = Math.max(...all.flatMap(({ singular_values }) => singular_values));
  const longest = Math.max(2, ...all.map(({ singular_values }) => singular_values.length));
  const x = (i: number) => box.left + (i * (box.width - box.left - 8)) / (longest - 1);
  const y = (value: number) => box.top + (1 - value / most) * (box.height - box.top - box.bottom);
  const line = ({ singular_values }: LinearAnalysis) =>
    singular_values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  const label = `Singular values of ${chosen.module}: ${chosen.singular_values.map(figure).join(', ')}`;
  return h(
    'svg',
    { class: 'spectrum', role: 'img', 'aria-label': label, viewBox: `0 0 ${box.width} ${box.height}` },
    [0, 0.5, 1].map((share) =>
      h(
        'g',
        { key: share },
        h('line', { class: 'grid', x1: box.left, x2: box.width - 8, y1: y(share * most), y2: y(share * most) }),
        h('text', { class: 'row', x: box.left - 6, y: y(share * most) }, figure(share * most)),
      ),
    ),
    h('text', { class: 'column', x: x(0), y: box.height - 8 }, '1'),
    h('text', { class: 'column', x: x(longest - 1), y: box.height - 8 }, longest),
    all.map((linear) => h('polyline', { key: linear.layer, class: 'other', points: line(linear) })),
    h('polyline', { class: 'own', points: line(chosen) }),
    chosen.singular_values.map((value, i) => h('circle', { key: x(i), class: 'own', cx: x(i), cy: y(value), r: 2.5 })),
  );
}
