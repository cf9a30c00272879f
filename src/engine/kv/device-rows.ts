// Several pools of rows in device memory, of one shape; a row has the same place in each. Only small graphs touch them:
// data from JavaScript is sent as whole rows, and rows are copied on the device.

import { poolNames } from '../../graph/pool-rows.ts';
import { type Real, realBytes } from '../../graph/target.ts';
import { runOnce } from '../../runtime/run-once.ts';
import { elementCount, type Memory, type MemoryPlace, type Runtime, type Tensor } from '../../runtime/session.ts';
import type { RowSessions } from './row-sessions.ts';

export type DeviceRowsForm = {
  readonly pools: number;
  readonly rows: number;
  /** Shape of one row. */
  readonly row: readonly [number, number];
  readonly real: Real;
  /** Whether rows are sent with their two dimensions swapped. */
  readonly transposed?: boolean;
};

/**
 * Most elements that are sent in one piece: other work has its turn between two pieces, and the card keeps room for
 * one.
 */
const sentElementsMax = 2 ** 24;

export class DeviceRows {
  readonly bytes: number;
  readonly #runtime: Runtime;
  readonly #sessions: RowSessions;
  readonly #form: DeviceRowsForm;
  readonly #elements: number;
  readonly #memories: readonly Memory[];

  constructor(runtime: Runtime, sessions: RowSessions, form: DeviceRowsForm) {
    this.#runtime = runtime;
    this.#sessions = sessions;
    this.#form = form;
    this.#elements = elementCount(form.row);
    const elements = form.rows * this.#elements;
    this.#memories = allocateAll(runtime, form, elements);
    this.bytes = form.pools * elements * realBytes[form.real];
  }

  /** Rows of a pool from `first` on, viewed in `shape`; the caller releases the tensor. */
  view(pool: number, first: number, shape: readonly number[]): Tensor {
    return this.#memories[pool]!.view(first * this.#elements, shape);
  }

  /** Overwrites rows from `first` on in every pool; `data` has one array for each pool, of whole rows. */
  async write(first: number, data: readonly Float32Array[]): Promise<void> {
    const { pools, rows, row, transposed = false } = this.#form;
    const count = data[0]!.length / this.#elements;
    const [x, y] = row;
    const session = await this.#sessions.write(pools, transposed);
    await runOnce(session, (tie) => {
      const at = BigInt64Array.from({ length: count }, (_, i) => BigInt(first + i));
      tie.input(poolNames.at, this.#runtime.tensor(at, [count, 1]));
      for (const [pool, sent] of data.entries()) {
        const target = this.view(pool, 0, [rows, x, y]);
        tie.input(poolNames.target(pool), target);
        tie.input(poolNames.rows(pool), this.#runtime.tensor(sent, transposed ? [count, y, x] : [count, x, y]));
        tie.output(poolNames.written(pool), target);
      }
    });
  }

  /**
   * As `write`, where the runtime can send half floats unconverted.
   * @param data [pools, rows sent, elements of a row]
   */
  async send(first: number, data: Float16Array): Promise<void> {
    const { pools } = this.#form;
    const places = this.#placesOf(first);
    const each = data.length / pools;
    const together = Math.max(1, Math.floor(sentElementsMax / each));
    for (let pool = 0; pool < pools; pool += together) {
      const end = Math.min(pools, pool + together);
      await this.#runtime.send!(places.slice(pool, end), data.subarray(pool * each, end * each));
    }
  }

  /**
   * Copies rows `from` of `source`, whose rows have the same form, over rows `to`. All are read before any is written.
   */
  async copyFrom(source: DeviceRows, from: readonly number[], to: readonly number[]): Promise<void> {
    const { pools, rows, real } = this.#form;
    const { copy } = this.#runtime;
    if (copy && from.length === 1) {
      const [read, written] = [source.#placesOf(from[0]!), this.#placesOf(to[0]!)];
      await copy(read, written, this.#elements * realBytes[real]);
      return;
    }
    const session = await this.#sessions.copy(pools);
    await runOnce(session, (tie) => {
      tie.input(poolNames.from, this.#runtime.tensor(BigInt64Array.from(from, BigInt), [from.length]));
      tie.input(poolNames.at, this.#runtime.tensor(BigInt64Array.from(to, BigInt), [to.length, 1]));
      for (let pool = 0; pool < pools; pool++) {
        const target = this.view(pool, 0, [rows, this.#elements]);
        tie.input(poolNames.source(pool), source.view(pool, 0, [source.#form.rows, this.#elements]));
        tie.input(poolNames.target(pool), target);
        tie.output(poolNames.written(pool), target);
      }
    });
  }

  #placesOf(row: number): readonly MemoryPlace[] {
    return this.#memories.map((memory) => ({ memory, start: row * this.#elements }));
  }

  release(): void {
    for (const memory of this.#memories) memory.release();
  }

  /** Sets every row to zeros; called before anything else is done with them. */
  async clear(): Promise<void> {
    const session = await this.#sessions.clear();
    for (const memory of this.#memories) {
      await runOnce(session, (tie) => {
        const length = this.#runtime.tensor(BigInt64Array.of(BigInt(memory.elements)), [1]);
        tie.input(poolNames.length, length);
        tie.output(poolNames.cleared, memory.view(0, [memory.elements]));
      });
    }
  }
}

/** Allocates all pools, or none if one fails. */
function allocateAll(runtime: Runtime, { pools, real }: DeviceRowsForm, elements: number): readonly Memory[] {
  const memories: Memory[] = [];
  try {
    for (let pool = 0; pool < pools; pool++) memories.push(runtime.allocate(real, elements));
  } catch (error) {
    for (const memory of memories) memory.release();
    throw error;
  }
  return memories;
}
