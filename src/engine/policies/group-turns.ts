// Which groups of rows decode in the next step. Rows on the same weights are one group, and each group that decodes
// reads all its weights: a step is as long as all of them together. Pure.

export type DecodingGroup = {
  readonly rows: number;
  /** Steps in which other groups decoded since it last did, or since it is there. */
  readonly waited: number;
};

/**
 * As many groups as `groupsMax`, those first that have waited longest, so that all rows advance at one pace and a group
 * waits for others at most `ceil(groups / groupsMax)` - 1 steps; of those that have waited equally long, those with
 * more rows.
 * @returns indices of `groups`, rising
 */
export function groupTurns(groups: readonly DecodingGroup[], groupsMax: number): number[] {
  const order = [...groups.keys()].filter((i) => groups[i]!.rows > 0);
  order.sort((a, b) => groups[b]!.waited - groups[a]!.waited || groups[b]!.rows - groups[a]!.rows || a - b);
  return order.slice(0, groupsMax).sort((a, b) => a - b);
}
