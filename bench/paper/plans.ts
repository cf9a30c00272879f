// The adapters that bench/paper.ts trains, for the LoRA paper's sections 7.1 and 7.2. Each is trained once, however
// many tables it is in.

import type { TargetModule } from '../../src/core/adapter.ts';

export type Plan = {
  readonly modules: readonly TargetModule[];
  readonly r: number;
  /** Ranks of modules that differ from `r`. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly seed: number;
};

const queriesAndValues = ['q_proj', 'v_proj'] as const;

export const ranks = [1, 2, 4, 8, 64] as const;
/** The second seed draws another A, which shows how much of a difference is chance. */
export const seeds = [1, 2] as const;

/** Plans by their rows in the tables: Wq,Wv and Wq of Table 6. */
export const rankPlan = (r: number, seed: number = seeds[0]): Plan => ({ modules: queriesAndValues, r, seed });
export const queryRankPlan = (r: number): Plan => ({ modules: ['q_proj'], r, seed: seeds[0] });

/**
 * Table 5's rows with one number of parameters. The paper's matrices all have one size. Here three heads share one key
 * and one value, so k and v are smaller, and rank 3 there takes as many parameters as rank 2 at q and o.
 */
export const matrixPlans = {
  Wq: { modules: ['q_proj'], r: 8, seed: 1 },
  Wk: { modules: ['k_proj'], r: 12, seed: 1 },
  Wv: { modules: ['v_proj'], r: 12, seed: 1 },
  Wo: { modules: ['o_proj'], r: 8, seed: 1 },
  'Wq,Wk': { modules: ['q_proj', 'k_proj'], r: 4, rankPattern: { k_proj: 6 }, seed: 1 },
  'Wq,Wv': { modules: ['q_proj', 'v_proj'], r: 4, rankPattern: { v_proj: 6 }, seed: 1 },
  'Wq,Wk,Wv,Wo': {
    modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'],
    r: 2,
    rankPattern: { k_proj: 3, v_proj: 3 },
    seed: 1,
  },
} as const satisfies Record<string, Plan>;

/** The most important plans first, since the set is often trained in pieces. */
export const allPlans: readonly Plan[] = [
  ...[1, 64, 8].map((r) => rankPlan(r)),
  ...Object.values(matrixPlans),
  rankPlan(64, seeds[1]),
  ...[4, 2].map((r) => rankPlan(r)),
  rankPlan(8, seeds[1]),
  ...[1, 64, 4, 2].map(queryRankPlan),
];

export function nameOf({ modules, r, rankPattern = {}, seed }: Plan): string {
  const parts = modules.map((module) => `${module[0]}${rankPattern[module] ?? r}`);
  return `${parts.join('-')}-seed${seed}`;
}
