// How a server takes a part of a quota ahead, so that it asks the database only when that part is used up. All servers
// together never have more than the quota: what is left, and what any of them has taken ahead, fill no further than it
// holds. What a server that died had taken is its own until the lease is over, and then nobody's.

import type { RateLevelRow } from '../storage/tables.ts';
import { minuteMs } from './buckets.ts';

export type LeaseAsk = {
  readonly owner: string;
  /** What the bucket holds when it is full. */
  readonly most: number;
  /** What fills it; null: what is taken is given back, as places are. */
  readonly perMinute: number | null;
  /** What it was granted last, and what it has used of that; more than it was granted is a debt. */
  readonly granted: number;
  readonly spent: number;
  /** Less than this is of no use. */
  readonly need: number;
  readonly want: number;
};

export type Settled = {
  readonly row: RateLevelRow;
  readonly granted: number;
  /** For anybody, below 0 where there is a debt. */
  readonly left: number;
};

type Lease = { readonly amount: number; readonly until: number };

/** Gives back what it had, less what it has used, and takes what it wants. `now` is the database's clock. */
export function settleLease(row: RateLevelRow, ask: LeaseAsk, now: number, leaseMs: number): Settled {
  const leases = living(row.leases, now);
  const own = leases.get(ask.owner);
  leases.delete(ask.owner);
  const others = [...leases.values()].reduce((sum, { amount }) => sum + amount, 0);
  const level = ask.perMinute === null ? ask.most - others : levelOf(row, ask, own, others, now);
  const isEnough = level >= ask.need;
  // Places that are taken stay so, whatever else was granted meanwhile.
  const kept = ask.perMinute === null ? ask.spent : 0;
  const granted = Math.max(kept, isEnough ? Math.min(ask.want, Math.max(0, level)) : 0);
  if (granted > 0) leases.set(ask.owner, { amount: granted, until: now + leaseMs });
  const left = level - granted;
  const text = leases.size === 0 ? null : JSON.stringify(Object.fromEntries(leases));
  return { row: { id: row.id, level: left, at: Math.max(now, row.at), leases: text }, granted, left };
}

function levelOf(row: RateLevelRow, ask: LeaseAsk, own: Lease | undefined, others: number, now: number): number {
  const { most, perMinute, granted, spent } = ask;
  const held = own?.amount ?? 0;
  const filled = row.level + (Math.max(0, now - row.at) * perMinute!) / minuteMs;
  const level = Math.min(most - others - held, filled);
  // Of a lease that is over the rest is nobody's; what was used beyond it is a debt all the same.
  return level + (own === undefined ? -Math.max(0, spent - granted) : held - spent);
}

function living(text: string | null, now: number): Map<string, Lease> {
  const all = Object.entries(JSON.parse(text ?? '{}') as Record<string, Lease>);
  return new Map(all.filter(([, { until }]) => until > now));
}
