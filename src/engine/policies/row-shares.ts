// How many rows each flow has a right to, and which flow gives one up for a flow that has fewer. Pure.

import { maxMinShares } from '../../core/max-min-shares.ts';

export type FlowRows = {
  readonly flow: number;
  readonly weight: number;
  readonly running: number;
  readonly waiting: number;
  /** Service over weight, in units of an input token. */
  readonly counter: number;
};

/**
 * Weighted max-min shares of the rows: no flow gets more than it runs and waits for. Each flow gets at least one, so
 * the sum may exceed `rows`.
 */
export function rowShares(flows: readonly FlowRows[], rows: number): Map<number, number> {
  const claims = flows.map(({ weight, running, waiting }) => ({ weight, most: running + waiting }));
  const shares = maxMinShares(rows, claims);
  return new Map(flows.map(({ flow }, i) => [flow, Math.max(1, shares[i]!)]));
}

/** Tolerance for shares, which are sums of fractions. */
const rounding = 1e-9;

/**
 * The flow that gives a row to `taker` where all rows are taken: of those that keep their share without it, the one
 * furthest above its share. null where there is none, where `taker` would be above its own share, or where its counter
 * is more than `lead` above the least counter of the waiting flows: it has been served already.
 */
export function rowGiver(flows: readonly FlowRows[], taker: number, rows: number, lead: number): number | null {
  const shares = rowShares(flows, rows);
  const excess = ({ flow, running }: FlowRows) => running - shares.get(flow)!;
  const asking = flows.find(({ flow }) => flow === taker);
  if (asking === undefined || excess(asking) + 1 > rounding) return null;
  const least = Math.min(...flows.filter(({ waiting }) => waiting > 0).map(({ counter }) => counter));
  if (asking.counter > least + lead) return null;
  const givers = flows.filter((flow) => excess(flow) - 1 > -rounding);
  givers.sort((a, b) => excess(b) - excess(a) || b.counter - a.counter || a.flow - b.flow);
  return givers[0]?.flow ?? null;
}

/** Whether any flow has a whole row more than its share; otherwise no row changes hands. */
export function hasExcess(flows: readonly FlowRows[], rows: number): boolean {
  const shares = rowShares(flows, rows);
  return flows.some(({ flow, running }) => running - shares.get(flow)! - 1 > -rounding);
}
