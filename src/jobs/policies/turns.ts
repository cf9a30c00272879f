// When a running job yields to another tenant's: its turn is over, and another tenant waits. Pure.

export type Turn = {
  /** The tenant that trains. */
  readonly tenant: string;
  /** Milliseconds that the job has trained since it was taken, and the length of a turn. */
  readonly ranMs: number;
  readonly turnMs: number;
  /** Tenants of the waiting jobs. */
  readonly waiting: readonly string[];
};

/** A tenant's own jobs take no turns with each other: that would only make all of them late. */
export const isTurnOver = ({ tenant, ranMs, turnMs, waiting }: Turn): boolean =>
  ranMs >= turnMs && waiting.some((other) => other !== tenant);
