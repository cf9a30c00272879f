// What the trained adapters changed, by the analysis that the server gives: where their directions meet, and what of
// the base's weights they amplify.

import type { BaseModel, ModelFiles } from '../../src/core/base-model.ts';
import { type Prng, prng } from '../../src/core/prng.ts';
import { analyseAdapter } from '../../src/offline/analyse-adapter.ts';
import { jacobiSvd } from '../../src/offline/jacobi-svd.ts';
import { rowsOf } from '../../src/offline/merged-weight.ts';
import { normAlong } from '../../src/offline/norm-along.ts';
import { type Columns, thinQr } from '../../src/offline/thin-qr.ts';
import type { LinearAnalysis, LinearSimilarity } from '../../src/protocol/offline-messages.ts';
import { spread } from '../statistics.ts';
import { nameOf, rankPlan, seeds } from './plans.ts';
import type { Run } from './train-once.ts';

export const analysedModules = ['q_proj', 'v_proj'] as const;
type AnalysedModule = (typeof analysedModules)[number];

export type Comparison = {
  readonly module: AnalysedModule;
  readonly own: string;
  readonly other: string;
  readonly similarity: LinearSimilarity;
  /** Lengths of the directions: where chance puts φ(i, j) is max(i, j) over them. */
  readonly size: { readonly input: number; readonly output: number };
};

export type Amplification = {
  readonly module: AnalysedModule;
  readonly r: number;
  readonly weightNorm: number;
  readonly deltaNorm: number;
  readonly effectiveRank: number;
  /** ‖Uᵀ W V‖_F over r directions of ΔW, of W itself, and drawn at random. */
  readonly alongDelta: number;
  readonly alongWeight: number;
  readonly alongRandom: number;
  /** ‖ΔW‖ / alongDelta of this layer, and the median of all layers. */
  readonly factor: number;
  readonly medianFactor: number;
};

export type PaperAnalysis = {
  /** The middle one, counted from 0. */
  readonly layer: number;
  readonly comparisons: readonly Comparison[];
  readonly amplifications: readonly Amplification[];
};

/** Runs that are missing are left out. */
export async function analyseRuns(
  runs: ReadonlyMap<string, Run>,
  model: ModelFiles,
  base: BaseModel,
): Promise<PaperAnalysis> {
  const layer = Math.floor(base.shape.layers / 2);
  const linearsOf = async (run: Run, against: Run | null) => {
    const work = { kind: 'analysis', model, adapter: run.adapter, against: against?.adapter ?? null } as const;
    return (await analyseAdapter(work)).linears;
  };
  const sizeOf = (module: AnalysedModule) => {
    const [output, input] = weightOf(base, layer, module).shape;
    return { input: input!, output: output! };
  };

  const comparisons: Comparison[] = [];
  for (const [one, two] of [
    [rankPlan(8), rankPlan(64)],
    [rankPlan(64), rankPlan(64, seeds[1])],
  ] as const) {
    const [run, against] = [runs.get(nameOf(one)), runs.get(nameOf(two))];
    if (run === undefined || against === undefined) continue;
    const linears = await linearsOf(run, against);
    for (const module of analysedModules) {
      const { similarity } = linears.find((linear) => linear.layer === layer && linear.module === module)!;
      comparisons.push({ module, own: run.name, other: against.name, similarity: similarity!, size: sizeOf(module) });
    }
  }

  const amplifications: Amplification[] = [];
  for (const r of [4, 64]) {
    const run = runs.get(nameOf(rankPlan(r)));
    if (run === undefined) continue;
    const linears = await linearsOf(run, null);
    for (const module of analysedModules) amplifications.push(amplificationOf(linears, base, layer, module, r));
  }
  return { layer, comparisons, amplifications };
}

function amplificationOf(
  linears: readonly LinearAnalysis[],
  base: BaseModel,
  layer: number,
  module: AnalysedModule,
  r: number,
): Amplification {
  const ofModule = linears.filter((linear) => linear.module === module);
  const { frobeniusNorm, effectiveRank, amplification } = ofModule.find((linear) => linear.layer === layer)!;
  const weight = weightOf(base, layer, module);
  const [outputs, inputs] = weight.shape as [number, number];
  const random = prng(1);
  const count = Math.min(r, outputs, inputs);
  const [u, v] = [randomDirections(random, outputs, count), randomDirections(random, inputs, count)];
  // Columns of Wᵀ, of which there are no more than rows.
  const { s } = jacobiSvd([...rowsOf(weight)].map(({ weights }) => Float64Array.from(weights)));
  return {
    ...{ module, r, weightNorm: norm(s), deltaNorm: frobeniusNorm, effectiveRank },
    ...{ alongDelta: frobeniusNorm / amplification!, alongWeight: norm(s.subarray(0, r)) },
    alongRandom: normAlong(weight, u, v),
    factor: amplification!,
    medianFactor: spread(ofModule.map((linear) => linear.amplification!)).median,
  };
}

function weightOf({ tensors }: BaseModel, layer: number, module: AnalysedModule) {
  return tensors.get(`model.layers.${layer}.self_attn.${module}.weight`)!;
}

/** Uniform among the orthonormal ones: what is left of Gaussian columns. */
function randomDirections(random: Prng, length: number, count: number): Columns {
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return thinQr(Array.from({ length: count }, () => Float64Array.from({ length }, gaussian))).q;
}

const norm = (values: Float64Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
