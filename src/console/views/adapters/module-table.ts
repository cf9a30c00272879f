// An analysis as numbers: means over the layers of each module.

import { h } from 'preact';
import type { ModuleSummary } from '../../api/types.ts';
import { figure } from '../../figures.ts';
import { Card } from '../../parts/heading.ts';
import { Sheet } from '../../parts/sheet.ts';

const shown = (value: number | null | undefined) => (value === null || value === undefined ? '' : figure(value));

export function ModuleTable({ modules, against }: { modules: readonly ModuleSummary[]; against: string | null }) {
  const titles = ['Layers', 'Rank', 'Norm', 'Effective rank', 'Stable rank', 'Amplification'];
  const all = against === null ? titles : [...titles, 'phi, input', 'phi, output'];
  const cells = (one: ModuleSummary) => [
    h('code', null, one.module),
    ...[one.layers, one.r, figure(one.frobenius_norm), figure(one.effective_rank), figure(one.stable_rank)],
    shown(one.amplification),
    ...(against === null ? [] : [shown(one.similarity?.input), shown(one.similarity?.output)]),
  ];
  return h(
    Card,
    { title: 'By module' },
    h(Sheet, {
      label: 'By module',
      isInCard: true,
      columns: [{ title: 'Module' }, ...all.map((title) => ({ title, isNumber: true }))],
      rows: modules.map((one) => ({ key: one.module, cells: cells(one) })),
    }),
  );
}
