// Waits until other servers have seen a change, or no longer use what it deletes. It asks the database, since no server
// knows the others' addresses.

import { type Clock, sleep, type Timers } from '../../core/clock.ts';
import type { ReplicaTable } from './replica-table.ts';

export type WaitParts = {
  readonly id: string;
  readonly table: Pick<ReplicaTable, 'behind'>;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly timers: Timers;
};

/** The first look comes after no pause; pauses then double up to the limits below. */
const firstPauseMs = 2;
const seenPauseMs = 50;
const drainedPauseMs = 1000;

/**
 * Resolves when every other server with a lease has seen change `seq`, after one lease's time at the latest. A server
 * that renews its lease then reads all changes, so after that time one that has not seen the change has no lease.
 */
export async function seenByOthers({ id, table, leaseMs, clock, timers }: WaitParts, seq: number): Promise<void> {
  const until = clock.monotonic() + leaseMs;
  for (let pause = firstPauseMs; ; pause = Math.min(2 * pause, seenPauseMs)) {
    const rest = until - clock.monotonic();
    if (rest <= 0) return;
    const behind = table.behind(id, 'seen', seq).catch(() => 1);
    if ((await Promise.race([behind, sleep(timers, rest).then(() => 0)])) === 0) return;
    await sleep(timers, pause);
  }
}

/** @param stopped rejects when this server ends */
export async function drainedByOthers(
  { id, table, timers }: WaitParts,
  seq: number,
  stopped: Promise<never>,
): Promise<void> {
  for (let pause = firstPauseMs; ; pause = Math.min(2 * pause, drainedPauseMs)) {
    const behind = table.behind(id, 'drained', seq).catch(() => 1);
    if ((await Promise.race([behind, stopped])) === 0) return;
    await Promise.race([sleep(timers, pause), stopped]);
  }
}
