// Analyses what the trained adapters changed, with the server's own analysis: where their directions meet, and which
// parts of the base's weights they amplify.

import type { BaseModel, ModelFiles, RawTensor } from '../../src/core/base-model.ts';
import { type Prng, prng } from '../../src/core/prng.ts';
import { analyseAdapter } from '../../src/offline/analyse-adapter.ts';
import { jacobiSvd } from '../../src/offline/jacobi-svd.ts';
import { rowsOf } from '../../src/offline/merged-weight.ts';
import { normAlong } from '../../src/offline/norm-along.ts';
import { type Columns, thinQr } from '../../src/offline/thin-qr.ts';
import type { LinearAnalysis, LinearSimilarity } from '../../src/protocol/offline-messages.ts';
import { spread } from '../statistics.ts';
import { nameOf, type Plan, rankPlan, seeds } from './plans.ts';
import type { Run } from './train-once.ts';

const analysedModules = ['q_proj', 'v_proj'] as const;
type AnalysedModule = (typeof analysedModules)[number];

/** Comparisons of the paper's Figures 3 and 4. */
const comparedPlans = [
  [rankPlan(8), rankPlan(64)],
  [rankPlan(64), rankPlan(64, seeds[1])],
] as const;

/** Ranks of the paper's Table 7. */
const amplifiedRanks = [4, 64] as const;

export type Comparison = {
  readonly module: AnalysedModule;
  readonly own: string;
  readonly other: string;
  readonly similarity: LinearSimilarity;
  /** Lengths of the directions. By chance φ(i, j) is max(i, j) divided by this length. */
  readonly size: { readonly input: number; readonly output: number };
};

export type Amplification = {
  readonly module: AnalysedModule;
  readonly r: number;
  readonly weightNorm: number;
  readonly deltaNorm: number;
  readonly effectiveRank: number;
  /** ‖Uᵀ W V‖_F over r directions of ΔW, of W itself, and of random ones. */
  readonly alongDelta: number;
  readonly alongWeight: number;
  readonly alongRandom: number;
  /** ‖ΔW‖ / alongDelta in this layer, and its median over all layers. */
  readonly factor: number;
  readonly medianFactor: number;
};

export type PaperAnalysis = {
  /** The middle layer, counted from 0. */
  readonly layer: number;
  readonly comparisons: readonly Comparison[];
  readonly amplifications: readonly Amplification[];
};

/** Analyses the runs. Missing runs are left out. */
export async function analyseRuns(
  runs: ReadonlyMap<string, Run>,
  model: ModelFiles,
  base: BaseModel,
): Promise<PaperAnalysis> {
  const linearsOf = async (run: Run, against: Run | null) => {
    const work = { kind: 'analysis', model, adapter: run.adapter, against: against?.adapter ?? null } as const;
    return (await analyseAdapter(work)).linears;
  };
  const layer = Math.floor(base.shape.layers / 2);
  const weights = analysedModules.map((module) => ({ module, weight: weightOf(base, layer, module) }));
  const run = (plan: Plan) => runs.get(nameOf(plan));

  const comparisons: Comparison[] = [];
  for (const [own, other] of comparedPlans) {
    const [one, two] = [run(own), run(other)];
    if (one === undefined || two === undefined) continue;
    const linears = await linearsOf(one, two);
    for (const { module, weight } of weights) {
      const { similarity } = linears.find((linear) => linear.layer === layer && linear.module === module)!;
      const size = { output: weight.shape[0]!, input: weight.shape[1]! };
      comparisons.push({ module, own: one.name, other: two.name, similarity: similarity!, size });
    }
  }

  const measured = weights.map((one) => ({ ...one, s: singularValues(one.weight) }));
  const amplifications: Amplification[] = [];
  for (const r of amplifiedRanks) {
    const one = run(rankPlan(r));
    if (one === undefined) continue;
    const linears = await linearsOf(one, null);
    amplifications.push(...measured.map((weight) => amplificationOf(linears, weight, layer, r)));
  }
  return { layer, comparisons, amplifications };
}

type MeasuredWeight = {
  readonly module: AnalysedModule;
  readonly weight: RawTensor;
  /** All of the weight's singular values, descending. */
  readonly s: Float64Array;
};

function amplificationOf(
  linears: readonly LinearAnalysis[],
  { module, weight, s }: MeasuredWeight,
  layer: number,
  r: number,
): Amplification {
  const ofModule = linears.filter((linear) => linear.module === module);
  const { frobeniusNorm, effectiveRank, amplification } = ofModule.find((linear) => linear.layer === layer)!;
  const count = Math.min(r, ...weight.shape);
  const random = prng(1);
  const [u, v] = weight.shape.map((length) => randomDirections(random, length, count));
  return {
    ...{ module, r, weightNorm: norm(s), deltaNorm: frobeniusNorm, effectiveRank },
    ...{ alongDelta: frobeniusNorm / amplification!, alongWeight: norm(s.subarray(0, r)) },
    alongRandom: normAlong(weight, u!, v!),
    factor: amplification!,
    medianFactor: spread(ofModule.map((linear) => linear.amplification!)).median,
  };
}

/** Singular values of W, computed from Wᵀ, which has no more columns than rows. */
function singularValues(weight: RawTensor): Float64Array {
  return jacobiSvd([...rowsOf(weight)].map(({ weights }) => Float64Array.from(weights))).s;
}

function weightOf({ tensors }: BaseModel, layer: number, module: AnalysedModule): RawTensor {
  return tensors.get(`model.layers.${layer}.self_attn.${module}.weight`)!;
}

/** Draws uniform orthonormal directions: the Q of Gaussian columns. */
function randomDirections(random: Prng, length: number, count: number): Columns {
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return thinQr(Array.from({ length: count }, () => Float64Array.from({ length }, gaussian))).q;
}

const norm = (values: Float64Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
