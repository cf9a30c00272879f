// Leases a part of a quota to a server, so that the server asks the database only when its part is used up. All servers
// together never have more than the quota: what is left and what is leased fill no further than the bucket holds. A
// dead server's part is its own until its lease ends, and is lost then.

import type { RateLevelRow } from '../storage/tables.ts';
import { minuteMs } from './buckets.ts';

export type LeaseAsk = {
  readonly owner: string;
  /** What the full bucket holds. */
  readonly most: number;
  /** What flows into the bucket in a minute; null: a number of places, which are given back. */
  readonly perMinute: number | null;
  /** Its last grant, and what it has used of it; more than the grant is a debt. */
  readonly granted: number;
  readonly spent: number;
  /** The least grant that is of use. */
  readonly need: number;
  readonly want: number;
};

export type Settled = {
  readonly row: RateLevelRow;
  readonly granted: number;
  /** What is left for all servers together; below 0 is a debt. */
  readonly left: number;
};

type Lease = { readonly amount: number; readonly until: number };

/** Returns the server's last grant less what it used, and grants what it wants. `now` is by the database's clock. */
export function settleLease(row: RateLevelRow, ask: LeaseAsk, now: number, leaseMs: number): Settled {
  const leases = living(row.leases, now);
  const own = leases.get(ask.owner);
  leases.delete(ask.owner);
  const others = [...leases.values()].reduce((sum, { amount }) => sum + amount, 0);
  const level = ask.perMinute === null ? ask.most - others : levelOf(row, ask, own, others, now);
  const isEnough = level >= ask.need;
  // Places that are taken stay taken, whatever else was granted meanwhile.
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
  // What an expired lease did not use is lost; what was used beyond it is still a debt.
  return level + (own === undefined ? -Math.max(0, spent - granted) : held - spent);
}

function living(text: string | null, now: number): Map<string, Lease> {
  const all = Object.entries(JSON.parse(text ?? '{}') as Record<string, Lease>);
  return new Map(all.filter(([, { until }]) => until > now));
}
