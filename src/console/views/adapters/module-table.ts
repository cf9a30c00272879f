// An analysis in numbers: means over the layers of each module.

import { h } from 'preact';
import type { ModuleSummary } from '../../api/types.ts';
import { figure } from '../../figures.ts';
import { Card } from '../../parts/heading.ts';

const shown = (value: number | null | undefined) => (value === null || value === undefined ? '' : figure(value));

export function ModuleTable({ modules, against }: { modules: readonly ModuleSummary[]; against: string | null }) {
  const titles = ['Module', 'Layers', 'Rank', 'Norm', 'Effective rank', 'Stable rank', 'Amplification'];
  const all = against === null ? titles : [...titles, 'phi, input', 'phi, output'];
  const cells = (one: ModuleSummary) => [
    ...[one.layers, one.r, figure(one.frobenius_norm), figure(one.effective_rank), figure(one.stable_rank)],
    shown(one.amplification),
    ...(against === null ? [] : [shown(one.similarity?.input), shown(one.similarity?.output)]),
  ];
  return h(
    Card,
    { title: 'By module' },
    h(
      'div',
      { class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'By module' },
      h(
        'table',
        null,
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            all.map((title, i) => h('th', { key: title, class: i > 0 ? 'number' : '' }, title)),
          ),
        ),
        h(
          'tbody',
          null,
          modules.map((one) =>
            h(
              'tr',
              { key: one.module },
              h('th', { scope: 'row' }, h('code', null, one.module)),
              cells(one).map((cell, i) => h('td', { key: all[i + 1], class: 'number' }, cell)),
            ),
          ),
        ),
      ),
    ),
  );
}
