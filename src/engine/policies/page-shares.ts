// Who gives up pages for a sequence whose adapter finds none. Pages are shared by flow, as rows are. Pure.

/** Sequences that run on the same pages. */
export type PageHolder<S> = {
  readonly pages: number;
  readonly sequences: readonly S[];
  /** Of its sequences; null: they are of several, and nobody's to give. */
  readonly flow: number | null;
  /** When the last of them started. */
  readonly startedAt: number;
};

export type PageFlow = { readonly flow: number; readonly weight: number };

/**
 * The holder that gives way: of the flow furthest above its share of `total` pages the one that started last. null where
 * nobody is above, where `taker` would be with `needed` more, or where there is only one flow.
 * @param flows those that run or wait
 */
export function pageGiver<S>(
  holders: readonly PageHolder<S>[],
  flows: readonly PageFlow[],
  taker: { readonly flow: number; readonly needed: number },
  total: number,
): PageHolder<S> | null {
  const weights = flows.reduce((sum, { weight }) => sum + weight, 0);
  const used = Map.groupBy(holders, ({ flow }) => flow);
  const excess = ({ flow, weight }: PageFlow, more = 0) =>
    (used.get(flow) ?? []).reduce((sum, { pages }) => sum + pages, more) - (total * weight) / weights;
  const own = flows.find(({ flow }) => flow === taker.flow);
  if (own === undefined || excess(own, taker.needed) > 0) return null;
  const above = flows.filter((one) => one.flow !== taker.flow && excess(one) > 0);
  const [giver] = above.sort((a, b) => excess(b) - excess(a));
  if (giver === undefined) return null;
  return used.get(giver.flow)!.reduce((last, one) => (one.startedAt >= last.startedAt ? one : last));
}
