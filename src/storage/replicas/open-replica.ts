// One of the servers on a PostgreSQL: renews its lease, reads the others' changes, and waits for the others after a
// change of its own.
//
// It renews the lease first and reads the feed after that. So a change that commits after the read finds this server's
// lease in the table and waits for it; an earlier change was read.

import { type Clock, sleep, type Timers } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { Database } from '../database.ts';
import { changeOf, changeTable } from './change-table.ts';
import { type ChangeListener, type Changes, type Replica, unsharedChanges } from './changes.ts';
import { replicaTable } from './replica-table.ts';
import { drainedByOthers, seenByOthers, type WaitParts } from './wait-for-others.ts';

export type OpenReplica = Changes & {
  /** Reads the feed soon: something may have changed. */
  hint(): void;
  /** Ends the lease: others may take its work, and nobody waits for it. */
  close(): Promise<void>;
};

export type ReplicaOptions = {
  /** A pool of its own, so that a renewal waits for no other query. */
  readonly database: Database;
  readonly id: string;
  readonly isShared: boolean;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { warn(fields: object, message: string): void };
  /** The largest `staleMs` with which memory is still used. */
  readonly staleMsMax: number;
  readonly leaseMs?: number;
  /** Milliseconds after the end of its lease for which a server keeps the work it owns. */
  readonly graceMs?: number;
};

const defaultLeaseMs = 3000;
/** A process that hangs for a moment shall not lose its training job. */
const defaultGraceMs = 7000;
/** Share of the lease for which memory counts as fresh; the rest allows for clocks that run at different speeds. */
const ownShare = 0.9;
const refreshMsMax = 1000;
const pageSize = 500;
const hourMs = 60 * 60 * 1000;
/** Changes are kept for longer than a server may hang and still continue from where it was. */
const changesKeptMs = 2 * hourMs;
const deadKeptMs = hourMs;

export async function openReplica(options: ReplicaOptions): Promise<OpenReplica> {
  const replica = new Replicating(options);
  await replica.start();
  return replica;
}

/** The feed for a program beside the servers that changes rows and caches none. */
export function besideReplicas(database: Database, clock: Clock, timers: Timers): Changes {
  const parts = { id: '', table: replicaTable(database), leaseMs: defaultLeaseMs, clock, timers };
  return { ...unsharedChanges('command line'), isShared: true, everywhere: (seq) => seenByOthers(parts, seq) };
}

class Replicating implements OpenReplica {
  readonly id: string;
  readonly isShared: boolean;
  readonly #options: ReplicaOptions;
  readonly #changes: ReturnType<typeof changeTable>;
  readonly #table: ReturnType<typeof replicaTable>;
  readonly #waiting: WaitParts;
  readonly #leaseMs: number;
  readonly #listeners: ChangeListener[] = [];
  /** Numbers of deletions whose versions are still used on this server. */
  readonly #draining = new Set<number>();
  readonly #stopped: Promise<never>;
  #stop: (error: Error) => void = () => {};
  #seen = 0;
  #freshUntil = Number.NEGATIVE_INFINITY;
  /** The database's time at its last answer. */
  #lastNow: number | null = null;
  #prunedAt = Number.NEGATIVE_INFINITY;
  #beating: Promise<void> | null = null;
  #isHinted = false;
  #isClosed = false;
  #isAway = false;
  #cancelBeat = () => {};
  #status: () => Readonly<Record<string, unknown>> = () => ({});

  constructor(options: ReplicaOptions) {
    this.#options = options;
    const { id, database, clock, timers, leaseMs = defaultLeaseMs } = options;
    this.id = id;
    this.isShared = options.isShared;
    this.#leaseMs = leaseMs;
    this.#changes = changeTable(database);
    this.#table = replicaTable(database);
    this.#waiting = { id, table: this.#table, leaseMs, clock, timers };
    this.#stopped = new Promise((_, reject) => {
      this.#stop = reject;
    });
    this.#stopped.catch(() => {});
  }

  async start(): Promise<void> {
    this.#seen = await this.#changes.newest();
    await this.#renewAndRead();
    this.#beatLater();
  }

  get staleMs(): number {
    return Math.max(0, this.#options.clock.monotonic() - this.#freshUntil);
  }

  get isBelievable(): boolean {
    return this.staleMs <= this.#options.staleMsMax;
  }

  async refresh(): Promise<void> {
    if (this.staleMs === 0 || this.#isClosed) return;
    await Promise.race([this.#beat(), sleep(this.#options.timers, refreshMsMax)]);
  }

  listen(listener: ChangeListener): void {
    this.#listeners.push(listener);
  }

  everywhere(seq: number): Promise<void> {
    return seenByOthers(this.#waiting, seq);
  }

  drainedEverywhere(seq: number): Promise<void> {
    return drainedByOthers(this.#waiting, seq, this.#stopped);
  }

  newest(): Promise<number> {
    return this.#changes.newest();
  }

  async list(): Promise<Replica[]> {
    return (await this.#table.all()).map((row) => ({
      id: row.id,
      isSelf: row.id === this.id,
      startedAt: row.started_at,
      leaseMs: row.lease_ms,
      behind: Math.max(0, row.newest - row.seen),
      draining: Math.max(0, row.seen - row.drained),
      status: JSON.parse(row.status) as Readonly<Record<string, unknown>>,
    }));
  }

  async living(): Promise<ReadonlySet<string>> {
    const living = await this.#table.living(this.#options.graceMs ?? defaultGraceMs);
    return living.add(this.id);
  }

  hint(): void {
    if (this.#isClosed) return;
    this.#isHinted = true;
    void this.#beat();
  }

  describe(status: () => Readonly<Record<string, unknown>>): void {
    this.#status = status;
  }

  readonly close = async (): Promise<void> => {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelBeat();
    this.#stop(new LorikeetError('server_draining'));
    await this.#beating;
    await this.#table.remove(this.id).catch(() => {});
  };

  // --- renewing the lease and reading the feed ---

  #beatLater(): void {
    this.#cancelBeat = this.#options.timers.after(this.#leaseMs / 4, () => void this.#beat());
  }

  /** Runs one beat at a time; never rejects. */
  #beat(): Promise<void> {
    this.#beating ??= this.#beatNow().finally(() => {
      this.#beating = null;
      this.#cancelBeat();
      if (this.#isClosed) return;
      if (this.#isHinted) void this.#beat();
      else this.#beatLater();
    });
    return this.#beating;
  }

  async #beatNow(): Promise<void> {
    const { log } = this.#options;
    try {
      // Changes that a hint announced are read before the renewal, so that the renewal confirms them at once.
      if (this.#isHinted) {
        this.#isHinted = false;
        await this.#read();
      }
      await this.#renewAndRead();
      if (this.#isAway) log.warn({ replica: this.id }, 'the database answers again');
      this.#isAway = false;
      await this.#prune();
    } catch (error) {
      if (!this.#isAway && !this.#isClosed) {
        log.warn({ err: error, replica: this.id }, 'the database does not answer: names may be older than elsewhere');
      }
      this.#isAway = true;
    }
  }

  async #renewAndRead(): Promise<void> {
    for (;;) {
      const before = this.#options.clock.monotonic();
      const renewal = {
        id: this.id,
        seen: this.#seen,
        drained: this.#drained(),
        status: JSON.stringify(this.#status()),
      };
      const { now, isNew } = await this.#table.renew(renewal, this.#leaseMs);
      const wasAway = this.#lastNow !== null && (isNew || now - this.#lastNow > changesKeptMs / 2);
      this.#lastNow = now;
      if (wasAway) await this.#forgetAll();
      const isNewer = await this.#read();
      this.#freshUntil = before + this.#leaseMs * ownShare;
      if (!isNewer && !wasAway) return;
    }
  }

  /** Reads and applies new changes. @returns whether there were any */
  async #read(): Promise<boolean> {
    let isNewer = false;
    for (;;) {
      const rows = await this.#changes.after(this.#seen, pageSize);
      for (const row of rows) {
        const change = changeOf(row);
        for (const listener of this.#listeners) await listener.apply(change);
        this.#drain(row.seq, change);
        this.#seen = row.seq;
        isNewer = true;
      }
      if (rows.length < pageSize) return isNewer;
    }
  }

  #drain(seq: number, change: ReturnType<typeof changeOf>): void {
    if (change.detail?.deleting === undefined) return;
    this.#draining.add(seq);
    const drained = this.#listeners.map((listener) => listener.drained?.(change));
    void Promise.all(drained).then(() => {
      this.#draining.delete(seq);
      this.hint();
    });
  }

  #drained(): number {
    return Math.min(this.#seen, ...[...this.#draining].map((seq) => seq - 1));
  }

  /** Drops all caches: changes may have been pruned from the feed before this server read them. */
  async #forgetAll(): Promise<void> {
    const newest = await this.#changes.newest();
    for (const listener of this.#listeners) await listener.forgetAll();
    this.#seen = newest;
  }

  async #prune(): Promise<void> {
    const now = this.#options.clock.monotonic();
    if (now - this.#prunedAt < hourMs / 4) return;
    this.#prunedAt = now;
    await this.#changes.prune(changesKeptMs);
    await this.#table.prune(deadKeptMs);
  }
}
