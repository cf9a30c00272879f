// Who runs in the next step. Running sequences fill KV rows without a gap. Those that decode lie together by the
// weights that they run on, so that each group's decode step is one range of rows; the base's, with adapters or
// without, are a group like any other:
//
//     rows   | base | merge 1 | merge 2 | ... | prefill, oldest first
//
// A group is there as long as it has rows, the base's always, first. A row that ends leaves a gap, which the last row
// of its group fills; the gap that this leaves is filled by the last row of the next group, and so on: one move a
// group that lies behind. A row whose prompt is whole is the first one behind the groups. To come to its own it changes
// places with the first row of each group behind that: of the last, none. Knows sequences and rows; knows no weights,
// and no time but what it is given.

import type { Merge } from './merges/merge.ts';
import { type Admission, admissible } from './policies/admission.ts';
import { groupTurns } from './policies/group-turns.ts';
import { type PrefillChunk, prefillChunks } from './policies/prefill-chunks.ts';
import { prefillLeft, type Sequence } from './sequence.ts';

/** Rows [first, first + rows) on the same weights, which take one token each. */
export type DecodeRange = { readonly first: number; readonly rows: number; readonly merge: Merge | null };

export type Plan = {
  /** Sequences that left the queue in this step. */
  readonly started: readonly Sequence[];
  readonly decode: readonly DecodeRange[];
  readonly prefill: readonly PrefillChunk[];
};

export type SchedulerOptions = {
  readonly rows: number;
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
};

/** A sequence whose pages others hold is overtaken by this many for each row there is. */
const overtakenMaxPerRow = 4;

type Group = { readonly merge: Merge | null; rows: number; waited: number };

export class Scheduler {
  readonly waiting: Sequence[] = [];
  /** By row. */
  readonly running: Sequence[] = [];
  /** Those that decode, in the order of their rows. */
  #groups: Group[] = [{ merge: null, rows: 0, waited: 0 }];
  readonly #options: SchedulerOptions;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  get idle(): boolean {
    return this.waiting.length === 0 && this.running.length === 0;
  }

  /** Rows that are free; as many of the queue's first may start next. */
  get room(): number {
    return this.#options.rows - this.running.length;
  }

  get #decoding(): number {
    return this.#groups.reduce((sum, { rows }) => sum + rows, 0);
  }

  add(sequence: Sequence): void {
    this.waiting.push(sequence);
  }

  schedule(now: number): Plan {
    const { rows, admit } = this.#options;
    const started = admissible(this.waiting, this.room, overtakenMaxPerRow * rows, admit);
    for (const sequence of started) {
      this.waiting.splice(this.waiting.indexOf(sequence), 1);
      sequence.startedAt = now;
      this.running.push(sequence);
    }
    const decoding = this.#decoding;
    const left = this.running.slice(decoding).map(prefillLeft);
    return {
      started,
      decode: this.#decodeRanges(),
      prefill: prefillChunks(left, decoding, this.#options.prefillBudget),
    };
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

  /**
   * Rows whose prompt is whole decode from the next step on. They are the oldest of the prefilling rows, since these
   * get the budget first.
   */
  promote(): void {
    let row = this.#decoding;
    for (; row < this.running.length && prefillLeft(this.running[row]!) === 0; row++) this.#join(row);
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
    const place = this.waiting.indexOf(sequence);
    if (place >= 0) {
      this.waiting.splice(place, 1);
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
    const { rows } = this.#options;
    if (this.running.length > rows) throw new Error(`${this.running.length} sequences on ${rows} rows`);
    if (this.#decoding > this.running.length) throw new Error('more rows decode than run');
    if (new Set([...this.running, ...this.waiting]).size !== this.running.length + this.waiting.length) {
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
