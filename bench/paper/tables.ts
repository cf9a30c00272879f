// The results as Markdown, each table beside the paper's own figures. What has not been trained is a dash.

import type { SimilarityGrid } from '../../src/protocol/offline-messages.ts';
import type { Amplification, Comparison, PaperAnalysis } from './analyse-runs.ts';
import type { Cost } from './costs.ts';
import { paperAmplification, paperCosts, paperMatrices, paperRanks } from './paper-figures.ts';
import { matrixPlans, nameOf, type Plan, queryRankPlan, rankPlan, ranks, seeds } from './plans.ts';
import type { Run } from './train-once.ts';

type Runs = ReadonlyMap<string, Run>;

export function tablesOf(runs: Runs, analysis: PaperAnalysis, costs: readonly Cost[]): string {
  return [
    ['Rank', rankTable(runs)],
    ['Which matrices', matrixTable(runs)],
    ...analysis.comparisons.flatMap((comparison) =>
      (['input', 'output'] as const).map((side) => [
        `φ, ${comparison.module} of layer ${analysis.layer}, ${side}, ${comparison.own} (rows), ${comparison.other}`,
        similarityTable(comparison, side),
      ]),
    ),
    [`Amplification, layer ${analysis.layer}`, amplificationTable(analysis.amplifications)],
    ['Costs', costTable(costs)],
  ]
    .map(([title, table]) => `${title}\n\n${table}\n`)
    .join('\n');
}

function rankTable(runs: Runs): string {
  const own = (plan: (r: number) => Plan) => ranks.map((r) => lossOf(runs, plan(r)));
  return markdown(
    ['', ...ranks.map((r) => `r = ${r}`)],
    [
      ...seeds.map((seed) => [`loss here, Wq,Wv, seed ${seed}`, ...own((r) => rankPlan(r, seed))]),
      ['loss here, Wq', ...own(queryRankPlan)],
      ...Object.entries(paperRanks).map(([name, figures]) => [`paper, ${name}, %`, ...figures.map(fixed(1))]),
    ],
  );
}

function matrixTable(runs: Runs): string {
  const rows = Object.entries(matrixPlans).map(([name, plan]) => {
    const { ranks: paperRank, wikiSql, mnli } = paperMatrices[name as keyof typeof matrixPlans];
    const run = runs.get(nameOf(plan));
    const own = [ranksOf(plan), run ? grouped(run.parameters) : '-', lossOf(runs, plan)];
    return [name, ...own, paperRank, fixed(1)(wikiSql), fixed(1)(mnli)];
  });
  return markdown(['', 'ranks here', 'parameters', 'loss', "paper's ranks", 'WikiSQL, %', 'MNLI, %'], rows);
}

function similarityTable({ similarity, size }: Comparison, side: 'input' | 'output'): string {
  const { own, other, phi }: SimilarityGrid = similarity[side];
  const rows = own.map((i, at) => [
    `i = ${i}`,
    ...other.map((j, to) => `${phi[at]![to]!.toFixed(2)} (${Math.min(1, Math.max(i, j) / size[side]).toFixed(2)})`),
  ]);
  return markdown(['(by chance)', ...other.map((j) => `j = ${j}`)], rows);
}

function amplificationTable(own: readonly Amplification[]): string {
  const header = ['', '‖W‖', '‖ΔW‖', 'along ΔW', 'along W', 'along random', 'factor', 'median of layers'];
  return markdown(header, [
    ...own.map(({ module, r, medianFactor, factor, ...norms }) => [
      `here, ${module}, r = ${r}`,
      ...normsOf(norms),
      fixed(1)(factor),
      fixed(1)(medianFactor),
    ]),
    ...paperAmplification.map(({ r, ...norms }) => [
      `paper, Wq, r = ${r}`,
      ...normsOf(norms),
      fixed(1)(norms.deltaNorm / norms.alongDelta),
      '',
    ]),
  ]);
}

type Norms = Record<'weightNorm' | 'deltaNorm' | 'alongDelta' | 'alongWeight' | 'alongRandom', number>;

const normsOf = ({ weightNorm, deltaNorm, alongDelta, alongWeight, alongRandom }: Norms): string[] =>
  [weightNorm, deltaNorm, alongDelta, alongWeight, alongRandom].map(fixed(2));

function costTable(costs: readonly Cost[]): string {
  const [full] = costs;
  const share = (of: number, part: number) => `${part >= of ? '' : `1/${Math.round(of / part)} `}`;
  const rows = costs.map(({ name, parameters, checkpointBytes, stateBytes, peakRssBytes }) => [
    name,
    `${grouped(parameters)} ${share(full!.parameters, parameters)}`.trim(),
    megabytes(checkpointBytes),
    megabytes(stateBytes),
    peakRssBytes === null ? '-' : megabytes(peakRssBytes),
  ]);
  const { fullParameters, loraParameters, fullBytes, loraBytes, fullMemoryBytes, loraMemoryBytes } = paperCosts;
  rows.push(
    ['paper, full', grouped(fullParameters), megabytes(fullBytes), '', megabytes(fullMemoryBytes)],
    ['paper, q4-v4', grouped(loraParameters), megabytes(loraBytes), '', megabytes(loraMemoryBytes)],
  );
  return markdown(['', 'parameters', 'checkpoint, MB', 'weights, gradients, moments, MB', 'peak memory, MB'], rows);
}

const lossOf = (runs: Runs, plan: Plan) => runs.get(nameOf(plan))?.validLoss.toFixed(3) ?? '-';

const ranksOf = ({ modules, r, rankPattern = {} }: Plan) =>
  modules.map((module) => rankPattern[module] ?? r).join(', ');

const fixed = (digits: number) => (value: number) => value.toFixed(digits);
const grouped = (value: number) => Math.round(value).toLocaleString('en-US');
const megabytes = (bytes: number) =>
  (bytes / 1e6).toLocaleString('en-US', { maximumFractionDigits: bytes < 1e7 ? 2 : 0 });

function markdown(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(3, ...all.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`;
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
