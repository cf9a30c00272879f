// How many rows each flow has a right to, and who gives one up for a flow that has fewer. Pure.

export type FlowRows = {
  readonly flow: number;
  readonly weight: number;
  readonly running: number;
  readonly waiting: number;
  /** Virtual tokens: service over weight. */
  readonly counter: number;
};

/**
 * Weighted max-min: nobody gets more than he runs and waits for, and what he leaves goes to the others by their
 * weights. Everybody gets one at least; together that may be more than there are rows.
 */
export function rowShares(flows: readonly FlowRows[], rows: number): Map<number, number> {
  const shares = new Map<number, number>();
  let open = [...flows];
  let rest = rows;
  while (open.length > 0) {
    const perWeight = rest / open.reduce((sum, { weight }) => sum + weight, 0);
    const sated = open.filter(({ running, waiting, weight }) => running + waiting <= perWeight * weight);
    if (sated.length === 0) {
      for (const { flow, weight } of open) shares.set(flow, Math.max(1, perWeight * weight));
      break;
    }
    for (const { flow, running, waiting } of sated) {
      shares.set(flow, Math.max(1, running + waiting));
      rest = Math.max(0, rest - running - waiting);
    }
    open = open.filter((flow) => !sated.includes(flow));
  }
  return shares;
}

/** Shares are sums of fractions. */
const rounding = 1e-9;

/**
 * The flow that gives a row to `taker` where all rows are taken: of those that keep their share without it the one that
 * is furthest above. null where there is none, where the taker would have more than its own share, or where it has had
 * `lead` virtual tokens more than the flow of those that wait which has had the least: it has been served already.
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

/** Whether anybody has a row more than his share: else none changes hands. */
export function hasExcess(flows: readonly FlowRows[], rows: number): boolean {
  const shares = rowShares(flows, rows);
  return flows.some(({ flow, running }) => running - shares.get(flow)! - 1 > -rounding);
}
