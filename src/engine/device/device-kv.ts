// The KV pool in device memory, where views begin anywhere. A run reads and writes a range of its rows in place.
//
//   pools 2 * layer, 2 * layer + 1: keys, values [rows + 3, kvHeads, positions * headDim]

import type { ModelShape } from '../../core/base-model.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { type KvCache, probeRow } from '../kv-cache.ts';
import { DeviceRows } from './device-rows.ts';
import { RowLengths } from './row-lengths.ts';
import type { RowSessions } from './row-sessions.ts';

/** Holds one row while two change places. */
const exchangeRow = probeRow - 1;

export type DeviceKvForm = {
  readonly rows: number;
  readonly positions: number;
  readonly real: Real;
  /** Rows may be used. */
  readonly ready: Promise<void>;
  /** Memory of this place goes: nothing may be tied to it any more. */
  readonly onGone: (place: string) => void;
};

export type DeviceKv = KvCache & {
  /** Those that are there from the start. */
  readonly pools: readonly DeviceRows[];
  /** null where a run's rows need not be neighbours. */
  readonly lengths: RowLengths | null;
};

export function createDeviceKv(
  runtime: Runtime,
  sessions: RowSessions,
  { layers, kvHeads, headDim }: ModelShape,
  { rows, positions, real, ready }: DeviceKvForm,
): DeviceKv {
  // Rows that are no sequence's lie behind the others.
  const form = { pools: 2 * layers, rows: rows - exchangeRow, row: [kvHeads, positions * headDim], real } as const;
  const pool = new DeviceRows(runtime, sessions, form);
  const placeOf = (row: number) => (row < 0 ? rows - 1 - row : row);
  // Copies are asked for between runs, in an order that matters. The next run waits for them, and after one that failed
  // no row is what it should be: none runs any more.
  let asked = ready;
  const copy = (from: number, to: number) => {
    asked = asked.then(() => pool.copyFrom(pool, [placeOf(from)], [placeOf(to)]));
    asked.catch(() => {});
  };
  const lengths = new RowLengths(rows, positions);
  return {
    rows,
    positions,
    lengths,
    pools: [pool],
    bytes: pool.bytes,
    move(from, to) {
      lengths.move(from, to);
      copy(from, to);
    },
    swap(one, other) {
      lengths.swap(one, other);
      copy(one, exchangeRow);
      copy(other, one);
      copy(exchangeRow, other);
    },
    async use(first, pasts, added, work) {
      for (const [i, past] of pasts.entries()) lengths.set(first + i, past + added);
      await asked;
      const view = (which: number) => pool.view(which, placeOf(first), [pasts.length, kvHeads, positions, headDim]);
      return work({
        ...{ place: `${first}`, order: null, blocks: null },
        key: (layer) => view(2 * layer),
        value: (layer) => view(2 * layer + 1),
      });
    },
    prefixes: null,
    expectGroups: async () => {},
    release: () => pool.release(),
  };
}
