// Who runs in the next step. Running sequences fill KV rows without a gap, those that decode first:
//
//     rows   0 ... decoding - 1 | decoding ... running.length - 1
//            decode together    | prefill, oldest first
//
// so that a decode step is one range of rows. When a row ends, the last of its part moves into the gap. Knows sequences
// and rows; knows no weights, and no time but what it is given.

import { type Admission, admissible } from './policies/admission.ts';
import { type PrefillChunk, prefillChunks } from './policies/prefill-chunks.ts';
import { prefillLeft, type Sequence } from './sequence.ts';

export type Plan = {
  /** Sequences that left the queue in this step. */
  readonly started: readonly Sequence[];
  /** Rows 0 to `decode` - 1 take one token each. */
  readonly decode: number;
  readonly prefill: readonly PrefillChunk[];
};

export type SchedulerOptions = {
  readonly rows: number;
  /** Prompt tokens a step. */
  readonly prefillBudget: number;
  /** Copies the first `length` KV positions of a row over another's. */
  readonly moveRow: (from: number, to: number, length: number) => void;
  /** Whether a sequence can start now; what it needs is its own from then on. */
  readonly admit: (sequence: Sequence) => Admission;
};

/** A sequence whose pages others hold is overtaken by this many for each row there is. */
const overtakenMaxPerRow = 4;

export class Scheduler {
  readonly waiting: Sequence[] = [];
  /** By row. */
  readonly running: Sequence[] = [];
  #decoding = 0;
  readonly #options: SchedulerOptions;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  get idle(): boolean {
    return this.waiting.length === 0 && this.running.length === 0;
  }

  add(sequence: Sequence): void {
    this.waiting.push(sequence);
  }

  schedule(now: number): Plan {
    const { rows, admit } = this.#options;
    const room = rows - this.running.length;
    const started = admissible(this.waiting, room, overtakenMaxPerRow * rows, admit);
    for (const sequence of started) {
      this.waiting.splice(this.waiting.indexOf(sequence), 1);
      sequence.startedAt = now;
      this.running.push(sequence);
    }
    const left = this.running.slice(this.#decoding).map(prefillLeft);
    return {
      started,
      decode: this.#decoding,
      prefill: prefillChunks(left, this.#decoding, this.#options.prefillBudget),
    };
  }

  /**
   * Rows whose prompt is whole decode from the next step on. They are the oldest of the prefilling rows, since these
   * get the budget first: the border moves, and no row does.
   */
  promote(): void {
    while (this.#decoding < this.running.length && prefillLeft(this.running[this.#decoding]!) === 0) this.#decoding++;
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

  /** Every row is in use once, and its part of the pool fits. For tests and idle moments. */
  checkIntegrity(): void {
    const { rows } = this.#options;
    if (this.running.length > rows) throw new Error(`${this.running.length} sequences on ${rows} rows`);
    if (this.#decoding > this.running.length) throw new Error('more rows decode than run');
    if (new Set([...this.running, ...this.waiting]).size !== this.running.length + this.waiting.length) {
      throw new Error('a sequence is there twice');
    }
    for (const [row, sequence] of this.running.entries()) {
      if ((prefillLeft(sequence) === 0) !== row < this.#decoding) throw new Error(`row ${row} is on the wrong side`);
    }
  }

  #free(row: number): void {
    const gap = row < this.#decoding ? this.#move(--this.#decoding, row) : row;
    // Prefilling rows keep their order of age: all of them slide down by one, which is at most a few short copies.
    for (let from = gap + 1; from < this.running.length; from++) this.#move(from, from - 1);
    this.running.pop();
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
}
