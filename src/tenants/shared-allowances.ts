// Allowances of several servers together. Each server leases a part and counts by that; the database is asked when a
// part is used up, and told once a second what was used. An unused part is given back. While the database is away each
// server uses its share of the quota.

import { type Clock, sleep, type Timers } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { Allowance, Allowances, AllowancesOptions } from './allowances.ts';
import { minuteMs } from './buckets.ts';
import { type LeaseAsk, settleLease } from './lease-of-quota.ts';

export type SharedOptions = AllowancesOptions & { readonly owner: string; readonly leaseMs?: number };

const defaultLeaseMs = 10_000;
/** Share of the lease that is used; the rest allows for clocks that run at different speeds. */
const ownShare = 0.9;
const flushMs = 1000;
/** Milliseconds that a request waits for the database. */
const waitMsMax = 1000;
/** Milliseconds for which a refusal is repeated without asking again. */
const refusalMs = { min: 50, max: 1000 };
/** The part that is leased ahead: a twentieth of the quota. */
const partOf = (most: number) => Math.max(1, most / 20);

type Part = {
  allowance: Allowance;
  /** The grant in the database's last answer. */
  leased: number;
  /** What may be used: the grant, and while the database is away also what has flowed in since. */
  granted: number;
  /** Used since the last answer; of places, all that are taken now. */
  spent: number;
  expiresAt: number;
  filledAt: number;
  /** What was left for all servers at the last answer. */
  left: number;
  leftAt: number;
  /** The least that a waiting caller needs, and what all waiting callers need together; 0: none waits. */
  need: number;
  wanted: number;
  wasAsked: boolean;
  refusedUntil: number;
  refusedNeed: number;
};

export function sharedAllowances(options: SharedOptions): Allowances {
  return new SharedAllowances(options);
}

class SharedAllowances implements Allowances {
  readonly #options: SharedOptions;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #leaseMs: number;
  readonly #parts = new Map<string, Part>();
  readonly #stop: () => void;
  #settling: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #servers = 1;
  #isAway = false;
  /** Whether the next question is about all parts. */
  #isWhole = false;

  constructor(options: SharedOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#timers = options.timers;
    this.#leaseMs = options.leaseMs ?? defaultLeaseMs;
    this.#stop = repeatedly(options.timers, flushMs, () => this.#flush());
  }

  ready(allowance: Allowance, needed: number): Promise<void> | null {
    const part = this.#partOf(allowance);
    part.wasAsked = true;
    if (this.level(allowance) >= needed || this.#isAway) return null;
    if (this.#clock.monotonic() < part.refusedUntil && needed >= part.refusedNeed) return null;
    part.need = part.need === 0 ? needed : Math.min(part.need, needed);
    part.wanted += needed;
    let isAnswered = false;
    const settled = this.#settleNext().then(() => {
      isAnswered = true;
    });
    const tooLong = sleep(this.#timers, waitMsMax).then(() => {
      if (!isAnswered) this.#away(new Error('The database gives no answer.'));
    });
    return Promise.race([settled, tooLong]);
  }

  level(allowance: Allowance): number {
    const part = this.#partOf(allowance);
    const now = this.#clock.monotonic();
    if (now >= part.expiresAt) expire(part);
    if (this.#isAway) this.#goOn(part, now);
    return part.granted - part.spent;
  }

  left(allowance: Allowance): number {
    const { left, leftAt } = this.#partOf(allowance);
    const fill = ((this.#clock.monotonic() - leftAt) * (allowance.perMinute ?? 0)) / minuteMs;
    const here = this.level(allowance);
    return this.#isAway ? here : Math.min(allowance.most, here + left + fill);
  }

  take(allowance: Allowance, amount: number): void {
    this.#partOf(allowance).spent += amount;
  }

  msUntil(allowance: Allowance, level: number): number {
    const missing = Math.max(0, level - this.left(allowance));
    if (!allowance.perMinute) return allowance.perMinute === null ? 0 : minuteMs;
    return Math.ceil((missing * minuteMs) / allowance.perMinute);
  }

  async close(): Promise<void> {
    this.#stop();
    for (const part of this.#parts.values()) part.wasAsked = false;
    await this.#settling;
    await this.#settle([...this.#parts.values()], true);
  }

  #partOf(allowance: Allowance): Part {
    let part = this.#parts.get(allowance.id);
    if (part === undefined) {
      part = {
        ...{ allowance, leased: 0, granted: 0, spent: 0, left: 0, need: 0, wanted: 0, wasAsked: false },
        ...{ expiresAt: Number.POSITIVE_INFINITY, refusedUntil: Number.NEGATIVE_INFINITY, refusedNeed: 0 },
        ...{ filledAt: this.#clock.monotonic(), leftAt: this.#clock.monotonic() },
      };
      this.#parts.set(allowance.id, part);
      if (this.#isAway) part.granted = this.#shareOf(allowance);
    }
    part.allowance = allowance;
    return part;
  }

  #shareOf({ most }: Allowance): number {
    return Math.max(1, most / this.#servers);
  }

  /** Fills the part while the database is away, as if this server's share were the whole quota. */
  #goOn(part: Part, now: number): void {
    const { allowance, filledAt, spent } = part;
    const { perMinute } = allowance;
    const share = this.#shareOf(allowance);
    const full = perMinute === null ? share : spent + share;
    const fill = perMinute === null ? share : ((now - filledAt) * perMinute) / this.#servers / minuteMs;
    part.filledAt = now;
    part.granted = Math.min(Math.max(full, part.leased), part.granted + fill);
  }

  /** Settles all parts, after dropping those without use, lease or request since the last time. */
  #flush(): Promise<void> {
    for (const [id, part] of this.#parts) {
      if (part.spent === 0 && part.leased === 0 && !part.wasAsked) this.#parts.delete(id);
    }
    return this.#parts.size === 0 ? Promise.resolve() : this.#settleNext(true);
  }

  /** Asks once the question under way is answered; all callers until then share the next answer. */
  #settleNext(whole = false): Promise<void> {
    this.#isWhole ||= whole;
    this.#next ??= (this.#settling ?? Promise.resolve()).then(() => {
      this.#next = null;
      const all = [...this.#parts.values()];
      const chosen = this.#isWhole ? all : all.filter(({ need }) => need > 0);
      this.#settling = this.#settle(chosen, this.#isWhole);
      this.#isWhole = false;
      return this.#settling;
    });
    return this.#next;
  }

  async #settle(parts: readonly Part[], isWhole: boolean): Promise<void> {
    if (parts.length === 0) return;
    const { table, owner } = this.#options;
    const sentAt = this.#clock.monotonic();
    const asks = new Map(parts.map((part) => [part.allowance.id, { part, ask: askOf(part, owner) }]));
    for (const { part } of asks.values()) {
      part.need = 0;
      part.wanted = 0;
      if (isWhole) part.wasAsked = false;
    }
    const answers = new Map<string, { granted: number; left: number }>();
    try {
      const first = new Map(parts.map(({ allowance: { id, most } }) => [id, most]));
      this.#servers = await table.settle(first, (row, now) => {
        const settled = settleLease(row, asks.get(row.id)!.ask, now, this.#leaseMs);
        answers.set(row.id, settled);
        return settled.row;
      });
    } catch (error) {
      this.#away(error);
      return;
    }
    this.#isAway = false;
    for (const [id, { part, ask }] of asks) this.#answered(part, ask, answers.get(id)!, sentAt);
  }

  #answered(part: Part, ask: LeaseAsk, { granted, left }: { granted: number; left: number }, sentAt: number): void {
    const now = this.#clock.monotonic();
    part.leased = granted;
    part.granted = granted;
    if (ask.perMinute !== null) part.spent -= ask.spent;
    Object.assign(part, { left, leftAt: now, filledAt: now, expiresAt: sentAt + this.#leaseMs * ownShare });
    if (ask.need === 0 || granted >= ask.need) return;
    const ms = ask.perMinute ? ((ask.need - left) * minuteMs) / ask.perMinute : refusalMs.min;
    part.refusedUntil = now + Math.min(refusalMs.max, Math.max(refusalMs.min, ms));
    part.refusedNeed = ask.perMinute === null ? ask.need - ask.spent : ask.need;
  }

  #away(error: unknown): void {
    if (this.#isAway) return;
    const now = this.#clock.monotonic();
    for (const part of this.#parts.values()) {
      part.filledAt = now;
      if (part.allowance.perMinute !== null) part.granted += Math.max(0, part.left) / this.#servers;
    }
    this.#isAway = true;
    const message = 'the database does not answer: quotas go on by what this server may use of them';
    this.#options.log.warn({ err: error, servers: this.#servers }, message);
  }
}

/** Ends a lease: the unused rest is lost and covers no later use. */
function expire(part: Part): void {
  const rest = Math.max(0, part.leased - part.spent);
  part.granted -= rest;
  part.leased -= rest;
  part.expiresAt = Number.POSITIVE_INFINITY;
}

function askOf({ allowance, leased, spent, need, wanted, wasAsked }: Part, owner: string): LeaseAsk {
  const { most, perMinute } = allowance;
  const inUse = perMinute === null ? spent : 0;
  const ahead = wasAsked ? Math.min(partOf(most), most) : 0;
  // For places, need and want count those taken already.
  const least = need === 0 ? 0 : inUse + need;
  return { owner, most, perMinute, granted: leased, spent, need: least, want: inUse + Math.max(ahead, wanted) };
}
