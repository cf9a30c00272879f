// Writes the results as Markdown, each table beside the paper's own figures. A dash marks what has not been trained.

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
    ...[...Map.groupBy(analysis.comparisons, ({ own, other }) => `${own} (i) and ${other} (j)`)].map(
      ([pair, comparisons]) => [`φ(i, j) in layer ${analysis.layer} of ${pair}`, similarityTable(comparisons)],
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

/** Steps of the grid that are shown. Chance is highest at the largest. */
const shownDirections = [1, 2, 4, 8, 64];

function similarityTable(comparisons: readonly Comparison[]): string {
  const last = shownDirections.at(-1)!;
  const rows = comparisons.flatMap(({ module, similarity, size }) =>
    (['input', 'output'] as const).flatMap((side) => {
      const { own, other, phi } = similarity[side];
      const at = (i: number, j: number) => phi[own.indexOf(i)]?.[other.indexOf(j)]?.toFixed(2) ?? '-';
      return shownDirections
        .filter((i) => own.includes(i))
        .map((i) => [
          `${module}, ${side}, i = ${i}`,
          ...shownDirections.map((j) => at(i, j)),
          fixed(2)(Math.min(1, last / size[side])),
        ]);
    }),
  );
  return markdown(['', ...shownDirections.map((j) => `j = ${j}`), `j = ${last} by chance`], rows);
}

function amplificationTable(own: readonly Amplification[]): string {
  const header = ['', '‖W‖', '‖ΔW‖', 'along ΔW', 'along W', 'along random', 'factor', 'median of layers'];
  return markdown(header, [
    ...own.map(({ module, r, medianFactor, factor, ...norms }) => [
      `here, ${module}, r = ${r}`,
      ...normsOf(norms),
      factor.toPrecision(3),
      medianFactor.toPrecision(3),
    ]),
    ...paperAmplification.map(({ r, ...norms }) => [
      `paper, Wq, r = ${r}`,
      ...normsOf(norms),
      (norms.deltaNorm / norms.alongDelta).toPrecision(3),
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
