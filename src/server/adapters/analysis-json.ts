// Gives an analysis the shape of HTTP, with a summary of each module over its layers.

import type { AdapterAnalysis, LinearAnalysis as Linear, SimilarityGrid } from '../../protocol/offline-messages.ts';
import type { AdapterVersion } from '../../registry/adapter-registry.ts';
import type { Analysis, LinearAnalysis, ModuleSummary } from '../schemas/offline.ts';
import { idOf } from './adapter-json.ts';

export function analysisJson(
  { usesDora, linears }: AdapterAnalysis,
  adapter: AdapterVersion,
  against: AdapterVersion | null,
): Analysis {
  return {
    id: idOf(adapter),
    object: 'adapter.analysis',
    digest: adapter.digest,
    against: against === null ? null : { id: idOf(against), digest: against.digest },
    uses_dora: usesDora,
    modules: [...Map.groupBy(linears, ({ module }) => module).values()].map(summaryOf),
    linears: linears.map(linearJson),
  };
}

function linearJson({ layer, module, r, scaling, singularValues, similarity, ...linear }: Linear): LinearAnalysis {
  return {
    ...{ layer, module, r, scaling },
    singular_values: singularValues.map(short),
    frobenius_norm: short(linear.frobeniusNorm),
    effective_rank: short(linear.effectiveRank),
    stable_rank: short(linear.stableRank),
    amplification: shortOrNull(linear.amplification),
    similarity: similarity && { input: gridJson(similarity.input), output: gridJson(similarity.output) },
  };
}

function summaryOf(linears: readonly Linear[]): ModuleSummary {
  const present = (values: readonly (number | null)[]) => values.filter((value) => value !== null);
  const compared = present(linears.map(({ similarity }) => similarity?.input.own.length ?? null)).length > 0;
  const phi = (side: 'input' | 'output') =>
    mean(present(linears.map(({ similarity }) => similarity?.[side].phi.at(-1)?.at(-1) ?? null)));
  return {
    module: linears[0]!.module,
    layers: linears.length,
    r: Math.max(...linears.map(({ r }) => r)),
    frobenius_norm: short(Math.hypot(...linears.map(({ frobeniusNorm }) => frobeniusNorm))),
    effective_rank: short(mean(linears.map(({ effectiveRank }) => effectiveRank))!),
    stable_rank: short(mean(linears.map(({ stableRank }) => stableRank))!),
    amplification: shortOrNull(mean(present(linears.map(({ amplification }) => amplification)))),
    similarity: compared ? { input: short(phi('input')!), output: short(phi('output')!) } : null,
  };
}

const gridJson = ({ own, other, phi }: SimilarityGrid) => ({
  own: [...own],
  other: [...other],
  phi: phi.map((row) => row.map(short)),
});

const mean = (values: readonly number[]) =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;

/** Rounds to six digits: weights of 16 bits have no more, and the JSON is half as long. */
const short = (value: number) => Number(value.toPrecision(6));
const shortOrNull = (value: number | null) => (value === null ? null : short(value));
