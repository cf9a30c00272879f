// What servers that share a database tell each other of what each keeps in memory. One server alone tells nobody and
// waits for nobody. This file is the contract: whoever remembers rows listens, whoever changes them tells.

/** A row or some rows that memory may have, and that are different now. */
export type Change = {
  readonly kind: 'adapter' | 'key' | 'tenant' | 'job' | 'batch' | 'merge';
  readonly tenant: string;
  readonly name: string;
  readonly detail?: ChangeDetail;
};

export type ChangeDetail = {
  /** Versions that are being deleted: nobody new gets them, and who has them lets them go. */
  readonly deleting?: readonly number[];
  /** A content that the last version of it took along. */
  readonly gone?: string;
};

export type ChangeListener = {
  /** Nothing that was remembered of it before is believed when it resolves. */
  apply(change: Change): void | Promise<void>;
  /** Of all that it remembers: what was told meanwhile is lost. */
  forgetAll(): void | Promise<void>;
  /** Resolves when nobody here uses what the change deletes. Asked after `apply`. */
  drained?(change: Change): Promise<void>;
};

export type Changes = {
  /** Of this server among those that share its database. */
  readonly id: string;
  /** Whether several servers may work on the database. */
  readonly isShared: boolean;
  /**
   * For how many milliseconds others have not waited for this server: what it remembers may be so much older than what
   * they acknowledge. 0: it is as new as theirs.
   */
  readonly staleMs: number;
  /** Whether it may go on by what it remembers: it is not older than an operator allows. */
  readonly isBelievable: boolean;
  /** Asks the database, where it was not heard of for too long. Resolves after a second at most; never rejects. */
  refresh(): Promise<void>;
  /** What people are told of this server. */
  describe(status: () => Readonly<Record<string, unknown>>): void;
  listen(listener: ChangeListener): void;
  /**
   * Resolves when no other server believes what was so before this change: each has seen it, or has lost its lease,
   * which takes seconds at most. Never rejects.
   */
  everywhere(seq: number): Promise<void>;
  /** Resolves when also nobody uses what it deletes on any server whose lease runs. Rejects when this server ends. */
  drainedEverywhere(seq: number): Promise<void>;
  /** Number of the newest change. */
  newest(): Promise<number>;
  /** Servers that are there, or were a moment ago. */
  list(): Promise<Replica[]>;
  /** Those of these owners' work is theirs; of others' it may be taken. */
  living(): Promise<ReadonlySet<string>>;
};

/** Times are by the database's clock. */
export type Replica = {
  readonly id: string;
  readonly isSelf: boolean;
  readonly startedAt: number;
  /** Milliseconds that others will still wait for it; below 0: they do not. */
  readonly leaseMs: number;
  /** Changes that it has not seen, and those whose deletions still wait for somebody there. */
  readonly behind: number;
  readonly draining: number;
  readonly status: Readonly<Record<string, unknown>>;
};

/** For a server that has its database alone. */
export function alone(id = 'alone'): Changes {
  let status: () => Readonly<Record<string, unknown>> = () => ({});
  return {
    id,
    isShared: false,
    staleMs: 0,
    isBelievable: true,
    refresh: async () => {},
    describe(given) {
      status = given;
    },
    listen: () => {},
    everywhere: async () => {},
    drainedEverywhere: async () => {},
    newest: async () => 0,
    list: async () => [
      { id, isSelf: true, startedAt: 0, leaseMs: Number.POSITIVE_INFINITY, behind: 0, draining: 0, status: status() },
    ],
    living: async () => new Set([id]),
  };
}
