// Which adapters bench/paper.ts trains: the LoRA paper's sections 7.1 and 7.2, each adapter once however many tables
// it stands in.

import type { TargetModule } from '../../src/core/adapter.ts';

export type Plan = {
  readonly modules: readonly TargetModule[];
  readonly r: number;
  /** Modules whose rank is another. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly seed: number;
};

const queriesAndValues = ['q_proj', 'v_proj'] as const;

export const ranks = [1, 2, 4, 8, 64] as const;
/** The second is another draw of A, and says how much of a difference is chance. */
export const seeds = [1, 2] as const;

/** By the name of their rows in the tables: Wq,Wv is Table 6's. */
export const rankPlan = (r: number, seed: number = seeds[0]): Plan => ({ modules: queriesAndValues, r, seed });
export const queryRankPlan = (r: number): Plan => ({ modules: ['q_proj'], r, seed: seeds[0] });

/**
 * Table 5's rows at one number of parameters. The paper's matrices are all of one size; where three heads share one key
 * and one value, k and v are smaller, and a rank of 3 takes there what one of 2 takes at q and o.
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

/** Most wanted first, since a set is often trained in pieces. */
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
