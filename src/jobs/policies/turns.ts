// When a running job makes room for another tenant's: it has had its turn, and somebody waits. Pure.

export type Turn = {
  /** Of the tenant that trains. */
  readonly tenant: string;
  /** For how long it has trained since it was taken, and a turn, milliseconds. */
  readonly ranMs: number;
  readonly turnMs: number;
  /** Tenants of the jobs that wait. */
  readonly waiting: readonly string[];
};

/** A tenant's own jobs come one after another: turns among them would only make all of them late. */
export const isTurnOver = ({ tenant, ranMs, turnMs, waiting }: Turn): boolean =>
  ranMs >= turnMs && waiting.some((other) => other !== tenant);
