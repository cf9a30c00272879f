// Who runs in the next step. Running sequences fill KV rows without a gap. Those that decode lie together by the
// weights that they run on, so that each group's decode step is one range of rows; the base's, with adapters or
// without, are a group like any other:
//
//     rows   | base | merge 1 | merge 2 | ... | prefill, oldest first
//
// A group is there as long as it has rows, the base's always, first. A row that ends leaves a gap, which the last row
// of its group fills; the gap that this leaves is filled by the last row of the next group, and so on: one move a
// group that lies behind. A row whose prompt is whole changes places with the first one behind the groups. To come to
// its own it changes places with the first row of each group behind that: of the last, none.
//
// Behind the rows that run lie others, where a sequence that made room for another flow's is parked: it waits again,
// and goes on where it was. Knows sequences and rows; knows no weights, and no time but what it is given.

import { flowRows, noGivers, pageHolders, type RowGivers, rowGivers } from './givers.ts';
import type { Merge } from './merges/merge.ts';
import { type Admission, admitWaiting } from './policies/admission.ts';
import { FairQueue } from './policies/fair-queue.ts';
import { groupTurns } from './policies/group-turns.ts';
import { hasRightTo, pageGiver } from './policies/page-shares.ts';
import { type PrefillChunk, prefillChunks } from './policies/prefill-chunks.ts';
import { prefillLeft, type Sequence } from './sequence.ts';

/** Rows [first, first + rows) on the same weights, which take one token each. */
export type DecodeRange = { readonly first: number; readonly rows: number; readonly merge: Merge | null };

export type Plan = {
  /** Sequences that left the queue for the first time in this step. */
  readonly started: readonly Sequence[];
  readonly decode: readonly DecodeRange[];
  readonly prefill: readonly PrefillChunk[];
};

export type SchedulerOptions = {
  /** Sequences that run at once. */
  readonly rows: number;
  /** Rows behind those, for sequences that are parked. */
  readonly parkedRows: number;
  /** Virtual tokens by which a flow may be ahead of another and still take a row from it. */
  readonly lead: number;
  /** Prompt tokens a step. */
  readonly prefillBudget: number;
  /** Groups that decode in one step. */
  readonly groupsMax: number;
  /** Copies the first `length` KV positions of a row over another's. */
  readonly moveRow: (from: number, to: number, length: number) => void;
  /** Exchanges the first `length` KV positions of two rows. */
  readonly swapRows: (one: number, other: number, length: number) => void;
  /** Whether a sequence can start now; what it needs is its own from then on. */
  readonly admit: (sequence: Sequence) => Admission;
  /** What it needs to run, and not to wait, is others' again. */
  readonly park: (sequence: Sequence) => void;
  /** Pages there are, and those that a sequence takes, or would take; sequences of one key share theirs. */
  readonly pages: number;
  readonly pagesOf: (sequence: Sequence) => { readonly key: string; readonly pages: number } | null;
};

/** Service in units of a prompt's token, as in the paper on virtual token counters: a generated one is dearer. */
const outputCost = 2;

/** A sequence whose pages others hold is overtaken by this many for each row there is. */
const overtakenMaxPerRow = 4;

type Group = { readonly merge: Merge | null; rows: number; waited: number };

export class Scheduler {
  readonly waiting: FairQueue<Sequence>;
  /** By row. */
  readonly running: Sequence[] = [];
  /** Those that decode, in the order of their rows. */
  #groups: Group[] = [{ merge: null, rows: 0, waited: 0 }];
  /** Rows that nobody is parked in. */
  readonly #parking: number[];
  readonly #options: SchedulerOptions;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    // What was charged once is not charged again.
    this.waiting = new FairQueue(
      ({ line }) => line,
      ({ request, startedAt }) => (startedAt === null ? request.promptTokens.length : 0),
    );
    this.#parking = Array.from({ length: options.parkedRows }, (_, i) => options.rows + i).reverse();
  }

  get idle(): boolean {
    return this.waiting.size === 0 && this.running.length === 0;
  }

  /** Rows that are free; as many of the queue's first may start next. */
  get room(): number {
    return this.#options.rows - this.running.length;
  }

  get #decoding(): number {
    return this.#groups.reduce((sum, { rows }) => sum + rows, 0);
  }

  add(sequence: Sequence): void {
    this.waiting.add(sequence);
  }

  /** One token more was generated for it. */
  charge(sequence: Sequence): void {
    this.waiting.charge(sequence, outputCost);
  }

  schedule(now: number): Plan {
    const started = this.#admit(now);
    // Those that were parked while they decoded do so at once.
    this.promote();
    const decoding = this.#decoding;
    const prefilling = this.running.slice(decoding);
    return {
      started,
      decode: this.#decodeRanges(),
      prefill: prefillChunks(
        prefilling.map((sequence, i) => ({
          row: decoding + i,
          left: prefillLeft(sequence),
          turn: this.waiting.counter(sequence.line.flow),
        })),
        this.#options.prefillBudget,
      ),
    };
  }

  #admit(now: number): Sequence[] {
    const { rows, lead, admit } = this.#options;
    const started: Sequence[] = [];
    const young = new Set<Sequence>();
    /** As long as nobody starts: who gives a row to each flow. */
    let givers: RowGivers | null = null;
    const giversNow = () => rowGivers(this, { rows, lead, young });
    admitWaiting(this.waiting.inOrder(), {
      overtakenMax: overtakenMaxPerRow * rows,
      // Another flow's only where pages are its right: one that is above its share waits for itself.
      holdsUp: (blocked, { line }) => blocked.line.flow === line.flow || this.#hasRightToPages(blocked),
      room: (sequence) => {
        if (this.room > 0) return 'yes';
        if (this.#parking.length === 0) return 'never';
        givers ??= giversNow();
        if (givers === noGivers) return 'never';
        return givers(sequence) === null ? 'no' : 'yes';
      },
      admit: (sequence) => {
        const admission = admit(sequence);
        if (admission !== 'blocked' || !this.#freePages(sequence, givers?.(sequence) ?? null, young)) return admission;
        givers = null;
        return admit(sequence);
      },
      start: (sequence) => {
        const giver = this.room > 0 ? null : (givers ?? giversNow())(sequence);
        givers = null;
        if (giver) this.#park(giver);
        if (sequence.startedAt === null) started.push(sequence);
        this.#start(sequence, now);
        young.add(sequence);
      },
    });
    return started;
  }

  /**
   * Parks sequences of flows that have more than their share of the pages, until this one finds its own.
   * @param giver of its row, who goes in any case
   * @returns whether anybody was parked
   */
  #freePages(sequence: Sequence, giver: Sequence | null, young: ReadonlySet<Sequence>): boolean {
    const { pages, pagesOf } = this.#options;
    const needed = pagesOf(sequence)?.pages;
    if (needed === undefined || sequence.hasAskedForPages || this.#parking.length === 0) return false;
    sequence.hasAskedForPages = true;
    const before = this.#parking.length;
    if (giver && this.room === 0) this.#park(giver);
    const flows = flowRows(this);
    const taker = { flow: sequence.line.flow, needed };
    for (;;) {
      const holder = pageGiver(pageHolders(this.running, pagesOf), flows, taker, pages);
      const rows = holder?.sequences ?? [];
      if (rows.length === 0 || rows.length > this.#parking.length || rows.some((row) => young.has(row))) break;
      for (const row of rows) this.#park(row);
    }
    return this.#parking.length < before;
  }

  #hasRightToPages(sequence: Sequence): boolean {
    const { pages, pagesOf } = this.#options;
    const needed = pagesOf(sequence)?.pages ?? 0;
    const taker = { flow: sequence.line.flow, needed };
    return hasRightTo(pageHolders(this.running, pagesOf), flowRows(this), taker, pages);
  }

  #start(sequence: Sequence, now: number): void {
    this.waiting.delete(sequence);
    sequence.hasAskedForPages = false;
    if (sequence.startedAt === null) this.waiting.charge(sequence, sequence.request.promptTokens.length);
    sequence.startedAt ??= now;
    this.running.push(sequence);
    if (sequence.parkedIn === null) return;
    this.#options.moveRow(sequence.parkedIn, this.running.length - 1, sequence.past);
    this.#parking.push(sequence.parkedIn);
    sequence.parkedIn = null;
  }

  #park(sequence: Sequence): void {
    const place = this.#parking.pop()!;
    const row = this.running.indexOf(sequence);
    this.#options.moveRow(row, place, sequence.past);
    this.#free(row);
    sequence.parkedIn = place;
    this.#options.park(sequence);
    this.waiting.add(sequence, true);
  }

  #decodeRanges(): DecodeRange[] {
    const turns = groupTurns(this.#groups, this.#options.groupsMax);
    const ranges: DecodeRange[] = [];
    let first = 0;
    for (const [i, group] of this.#groups.entries()) {
      const { rows, merge } = group;
      const isChosen = turns.includes(i);
      if (isChosen) ranges.push({ first, rows, merge });
      group.waited = isChosen || rows === 0 ? 0 : group.waited + 1;
      first += rows;
    }
    return ranges;
  }

  /** Rows whose prompt is whole decode from the next step on. */
  promote(): void {
    for (let row = this.#decoding; row < this.running.length; row++) {
      if (prefillLeft(this.running[row]!) > 0) continue;
      this.#swap(row, this.#decoding);
      this.#join(this.#decoding);
    }
  }

  /** Takes the first row behind the groups into its own. */
  #join(row: number): void {
    const { merge } = this.running[row]!;
    let group = this.#groups.find((group) => group.merge === merge);
    if (!group) {
      group = { merge, rows: 0, waited: 0 };
      this.#groups.push(group);
    }
    let at = row;
    for (let i = this.#groups.length - 1; this.#groups[i] !== group; i--)
      at = this.#swap(at, at - this.#groups[i]!.rows);
    group.rows++;
  }

  /** Takes a sequence out, waiting or running. */
  remove(sequence: Sequence): void {
    if (this.waiting.delete(sequence)) {
      if (sequence.parkedIn !== null) this.#parking.push(sequence.parkedIn);
      sequence.parkedIn = null;
      return;
    }
    const row = this.running.indexOf(sequence);
    if (row < 0) throw new Error('the sequence neither waits nor runs');
    this.#free(row);
  }

  #free(row: number): void {
    let gap = row;
    let end = 0;
    for (const group of this.#groups) {
      const first = end;
      end += group.rows;
      if (gap >= end) continue;
      // The others of its group and of those behind stay as many; they only lie one row lower.
      if (row >= first) group.rows--;
      gap = this.#move(end - 1, gap);
    }
    // Prefilling rows keep their order of age: all of them slide down by one, which is at most a few short copies.
    for (let from = gap + 1; from < this.running.length; from++) this.#move(from, from - 1);
    this.running.pop();
    this.#groups = this.#groups.filter(({ merge, rows }) => merge === null || rows > 0);
  }

  /** Returns the row that is free afterwards. */
  #move(from: number, to: number): number {
    if (from !== to) {
      const sequence = this.running[from]!;
      this.#options.moveRow(from, to, sequence.past);
      this.running[to] = sequence;
    }
    return from;
  }

  /** Returns where the first one is afterwards. */
  #swap(one: number, other: number): number {
    if (one !== other) {
      const [a, b] = [this.running[one]!, this.running[other]!];
      this.#options.swapRows(one, other, Math.max(a.past, b.past));
      this.running[one] = b;
      this.running[other] = a;
    }
    return other;
  }

  /** Every row is in use once, and lies in its group. For tests and idle moments. */
  checkIntegrity(): void {
    const { rows, parkedRows } = this.#options;
    this.waiting.checkIntegrity();
    const parked = [...this.waiting].filter(({ parkedIn }) => parkedIn !== null);
    if (new Set([...this.#parking, ...parked.map(({ parkedIn }) => parkedIn)]).size !== parkedRows) {
      throw new Error('a parking row is lost, or taken twice');
    }
    if (this.running.some(({ parkedIn }) => parkedIn !== null)) throw new Error('a sequence runs and is parked');
    if (this.running.length > rows) throw new Error(`${this.running.length} sequences on ${rows} rows`);
    if (this.#decoding > this.running.length) throw new Error('more rows decode than run');
    if (new Set([...this.running, ...this.waiting]).size !== this.running.length + this.waiting.size) {
      throw new Error('a sequence is there twice');
    }
    const groupOfRow = this.#groups.flatMap((group) => Array<Group>(group.rows).fill(group));
    for (const [row, sequence] of this.running.entries()) {
      const group = groupOfRow[row];
      if ((prefillLeft(sequence) === 0) !== (group !== undefined)) throw new Error(`row ${row} is on the wrong side`);
      if (group && group.merge !== sequence.merge) throw new Error(`row ${row} is in another group`);
    }
    if (new Set(this.#groups.map(({ merge }) => merge)).size !== this.#groups.length)
      throw new Error('a group is split');
  }
}
