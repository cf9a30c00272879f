// What servers that share a database tell each other about rows that each keeps in memory. A server alone tells nobody
// and waits for nobody. This file is the contract: code that caches rows listens, code that changes them tells.

/** Rows that changed and that other servers may have in memory. */
export type Change = {
  readonly kind: 'adapter' | 'key' | 'tenant' | 'job' | 'batch' | 'merge';
  readonly tenant: string;
  readonly name: string;
  readonly detail?: ChangeDetail;
};

export type ChangeDetail = {
  /** Versions that are being deleted: they get no new requests, and those who hold them release them. */
  readonly deleting?: readonly number[];
  /** Digest of the content that was deleted with its last version. */
  readonly gone?: string;
};

export type ChangeListener = {
  /** After it resolves, nothing that was cached of these rows before the change is used. */
  apply(change: Change): void | Promise<void>;
  /** Drops all that is cached, because changes may have been missed. */
  forgetAll(): void | Promise<void>;
  /** Resolves when no request on this server uses what the change deletes. Called after `apply`. */
  drained?(change: Change): Promise<void>;
};

export type Changes = {
  /** This server's id among those that share its database. */
  readonly id: string;
  /** Whether several servers may work on the database. */
  readonly isShared: boolean;
  /**
   * Milliseconds for which other servers have not waited for this one: its memory may be that much older than what they
   * have confirmed. 0: it is as new as theirs.
   */
  readonly staleMs: number;
  /** Whether memory may be used: `staleMs` is within the operator's limit. */
  readonly isBelievable: boolean;
  /** Asks the database for changes where `staleMs` is above 0. Resolves after a second at most; never rejects. */
  refresh(): Promise<void>;
  /** Sets the function that describes this server to people. */
  describe(status: () => Readonly<Record<string, unknown>>): void;
  listen(listener: ChangeListener): void;
  /**
   * Resolves when no other server uses what was valid before this change: each has seen it, or has lost its lease,
   * which takes seconds at most. Never rejects.
   */
  everywhere(seq: number): Promise<void>;
  /**
   * Resolves when also no request on any server with a lease uses what the change deletes. Rejects when this server
   * ends.
   */
  drainedEverywhere(seq: number): Promise<void>;
  /** Number of the newest change. */
  newest(): Promise<number>;
  /** Servers with a row: those that run, and those that died within the last hour. */
  list(): Promise<Replica[]>;
  /** Ids of the servers that keep the work they own; work of any other owner may be taken. */
  living(): Promise<ReadonlySet<string>>;
};

/** Times are by the database's clock. */
export type Replica = {
  readonly id: string;
  readonly isSelf: boolean;
  readonly startedAt: number;
  /** Milliseconds left of its lease, for which others wait for it; below 0: it has run out. */
  readonly leaseMs: number;
  /** Number of changes that it has not seen. */
  readonly behind: number;
  /** Number of changes that it has seen since the oldest deletion whose versions are still used there. */
  readonly draining: number;
  readonly status: Readonly<Record<string, unknown>>;
};

/** The feed of a server that has its database alone. */
export function unsharedChanges(id = 'alone'): Changes {
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
