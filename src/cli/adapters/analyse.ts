// Prints an adapter's analysis as a table with a line for each kind of linear.

import type { Analysis, ModuleSummary } from '../../server/schemas/offline.ts';
import type { Server } from '../ask-server.ts';
import { table } from '../help.ts';

export function readAnalysis(server: Server, address: string, against: unknown): Promise<Analysis> {
  const query = against === undefined ? '' : `?against=${encodeURIComponent(String(against))}`;
  return server.get<Analysis>(`${address}/analysis${query}`);
}

export function analysisTable({ id, against, uses_dora, modules }: Analysis): string[] {
  const nearness = against === null ? '' : `, and its nearness to ${against.id}`;
  const head = ['module', 'layers', 'r', 'norm', 'effective rank', 'stable rank', 'amplification'];
  const compared = against === null ? [] : ['φ input', 'φ output'];
  return [
    `What ${id} adds to each linear${nearness}: means over layers.`,
    ...(uses_dora ? ['It uses DoRA: this is s·B·A alone, before magnitudes.'] : []),
    ...table([[...head, ...compared], ...modules.map((one) => [...cells(one), ...(compared.length ? phis(one) : [])])]),
  ];
}

const cells = (one: ModuleSummary): string[] => [
  one.module,
  String(one.layers),
  String(one.r),
  one.frobenius_norm.toPrecision(3),
  one.effective_rank.toFixed(2),
  one.stable_rank.toFixed(2),
  one.amplification === null ? 'none' : one.amplification.toPrecision(3),
];

const phis = ({ similarity }: ModuleSummary) =>
  similarity === null ? ['none', 'none'] : [similarity.input.toFixed(3), similarity.output.toFixed(3)];
