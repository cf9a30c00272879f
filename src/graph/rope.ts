// Rotary position tables (RoFormer, arXiv 2104.09864). The rules that scale them are those of transformers
// (modeling_rope_utils.py) under the same names: linear, llama3, yarn (arXiv 2309.00071), longrope (arXiv 2402.13753).

import type { ModelShape, RopeScaling, RopeTable } from '../core/base-model.ts';
import { modelPlan } from '../core/layer-plan.ts';

export type RopeTables = {
  readonly cos: Float32Array<ArrayBuffer>;
  readonly sin: Float32Array<ArrayBuffer>;
};

/** `none` rotates nothing: its angles are 0. */
export type TableName = RopeTable | 'none';

/** Names of the tables in graphs; most models have only one. */
export const tableNames: Readonly<Record<TableName, { readonly cos: string; readonly sin: string }>> = {
  global: { cos: 'cos', sin: 'sin' },
  local: { cos: 'cos.local', sin: 'sin.local' },
  none: { cos: 'cos.none', sin: 'sin.none' },
};

/** The tables that some layer reads. */
export const tablesOf = (shape: ModelShape): TableName[] => [
  ...new Set(modelPlan(shape).layers.map(({ rope }) => rope ?? 'none')),
];

/** Rotated pairs of numbers in a head. */
export const rotaryPairs = ({ ropeDims, headDim }: ModelShape): number => (ropeDims ?? headDim) / 2;

/**
 * cos and sin of position * frequency: each [positions, pairs].
 * @param positions the longest text; longrope takes its frequencies for long texts where this is beyond the original
 * context
 */
export function ropeTables(shape: ModelShape, positions: number, table: TableName = 'global'): RopeTables {
  const pairs = rotaryPairs(shape);
  const theta = table === 'local' ? shape.localRopeTheta! : shape.ropeTheta;
  const plain = Float64Array.from({ length: pairs }, (_, i) => (table === 'none' ? 0 : theta ** (-i / pairs)));
  const scaling = table === 'global' ? shape.ropeScaling : null;
  const frequencies = scaling === null ? plain : scaled(scaling, plain, theta, positions);
  const factor = scaling !== null && 'attentionFactor' in scaling ? scaling.attentionFactor : 1;
  const cos = new Float32Array(positions * pairs);
  const sin = new Float32Array(positions * pairs);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < pairs; i++) {
      cos[position * pairs + i] = factor * Math.cos(position * frequencies[i]!);
      sin[position * pairs + i] = factor * Math.sin(position * frequencies[i]!);
    }
  }
  return { cos, sin };
}

function scaled(scaling: RopeScaling, plain: Float64Array, theta: number, positions: number): Float64Array {
  switch (scaling.kind) {
    case 'linear':
      return plain.map((frequency) => frequency / scaling.factor);
    case 'llama3':
      return plain.map((frequency) => llama3(scaling, frequency));
    case 'yarn':
      return yarn(scaling, plain, theta);
    case 'longrope': {
      const divisors = positions > scaling.originalContext ? scaling.longFactors : scaling.shortFactors;
      return plain.map((frequency, i) => frequency / divisors[i]!);
    }
  }
}

type Rule<Kind> = Extract<RopeScaling, { kind: Kind }>;

function llama3(rule: Rule<'llama3'>, frequency: number): number {
  const { factor, lowFreqFactor, highFreqFactor, originalContext } = rule;
  const turns = (originalContext * frequency) / (2 * Math.PI);
  if (turns < lowFreqFactor) return frequency / factor;
  if (turns > highFreqFactor) return frequency;
  const smooth = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - smooth) * (frequency / factor) + smooth * frequency;
}

/**
 * Pairs that turn often within the original context stay, those that turn little are slowed, those between are on a
 * ramp.
 */
function yarn(rule: Rule<'yarn'>, plain: Float64Array, theta: number): Float64Array {
  const { factor, originalContext, betaFast, betaSlow, truncate } = rule;
  const dims = 2 * plain.length;
  const pairOf = (turns: number) => (dims * Math.log(originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const high = Math.min(truncate ? Math.ceil(slow) : slow, dims - 1);
  const width = high === low ? 0.001 : high - low;
  return plain.map((frequency, i) => {
    const slowed = Math.min(Math.max((i - low) / width, 0), 1);
    return frequency * (1 - slowed + slowed / factor);
  });
}
