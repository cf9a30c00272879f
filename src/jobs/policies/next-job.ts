// Chooses the next of the waiting jobs: of the tenant whose last turn is longest ago, the oldest job. Between two turns
// of one tenant every other tenant that waits has one. Pure.

export type WaitingJob = { readonly id: string; readonly tenant: string; readonly queuedAt: number };

/**
 * @param waiting in the order in which they began to wait
 * @param lastStarts when each tenant's last job was started; missing: never
 */
export function nextJob<J extends WaitingJob>(
  waiting: readonly J[],
  lastStarts: ReadonlyMap<string, number>,
): J | null {
  const turn = ({ tenant }: WaitingJob) => lastStarts.get(tenant) ?? Number.NEGATIVE_INFINITY;
  const before = (a: J, b: J) => turn(a) < turn(b) || (turn(a) === turn(b) && a.queuedAt < b.queuedAt);
  return waiting.reduce<J | null>((best, job) => (best === null || before(job, best) ? job : best), null);
}
