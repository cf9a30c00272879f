// Chooses who gives up pages for a sequence whose adapter finds too few. Flows share pages by their weights, as they
// share rows. Pure.

/** Sequences that run on the same pages. */
export type PageHolder<S> = {
  readonly pages: number;
  readonly sequences: readonly S[];
  /** The flow of all its sequences; null if they are of several flows, and then no flow can give the pages. */
  readonly flow: number | null;
  /** When the last of the sequences started. */
  readonly startedAt: number;
};

export type PageFlow = { readonly flow: number; readonly weight: number };

type Taker = { readonly flow: number; readonly needed: number };

/** Whether a flow would be within its share of `total` pages if it had `needed` more. */
export const hasRightTo = <S>(
  holders: readonly PageHolder<S>[],
  flows: readonly PageFlow[],
  { flow, needed }: Taker,
  total: number,
): boolean => {
  const own = flows.find((one) => one.flow === flow);
  return own !== undefined && excessOf(holders, flows, total)(own, needed) <= 0;
};

/** Gives a function for the pages that a flow has, with `more` added, beyond its share. */
function excessOf<S>(holders: readonly PageHolder<S>[], flows: readonly PageFlow[], total: number) {
  const weights = flows.reduce((sum, { weight }) => sum + weight, 0);
  return ({ flow, weight }: PageFlow, more = 0): number => {
    const used = holders.reduce((sum, holder) => sum + (holder.flow === flow ? holder.pages : 0), more);
    return used - (total * weight) / weights;
  };
}

/**
 * The holder that gives way: the last started one of the flow furthest above its share of `total` pages. null where no
 * flow is above, where `taker` would be above with `needed` more, or where there is only one flow.
 * @param flows those that run or wait
 */
export function pageGiver<S>(
  holders: readonly PageHolder<S>[],
  flows: readonly PageFlow[],
  taker: Taker,
  total: number,
): PageHolder<S> | null {
  if (!hasRightTo(holders, flows, taker, total)) return null;
  const excess = excessOf(holders, flows, total);
  const above = flows.filter((one) => one.flow !== taker.flow && excess(one) > 0);
  const [giver] = above.sort((a, b) => excess(b) - excess(a));
  if (giver === undefined) return null;
  const held = holders.filter(({ flow }) => flow === giver.flow);
  return held.reduce((last, one) => (one.startedAt >= last.startedAt ? one : last));
}
