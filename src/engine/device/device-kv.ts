// The KV pool in device memory. A run reads and writes a range of its rows in place. Where views begin at the start of
// their memory only, a row by itself runs in a pool of one row, and is copied there and back.
//
//   pools 2 * layer, 2 * layer + 1: keys, values [rows + 3, kvHeads, positions * headDim]

import type { ModelShape } from '../../core/base-model.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { type KvCache, probeRow } from '../kv-cache.ts';
import { DeviceRows } from './device-rows.ts';
import type { RowSessions } from './row-sessions.ts';

/** Holds one row while two change places. */
const exchangeRow = probeRow - 1;

export type DeviceKvForm = {
  readonly rows: number;
  readonly positions: number;
  readonly real: Real;
  /** Rows may be used. */
  readonly ready: Promise<void>;
};

export function createDeviceKv(
  runtime: Runtime,
  sessions: RowSessions,
  shape: ModelShape,
  { rows, positions, real, ready }: DeviceKvForm,
): KvCache & { readonly pools: readonly DeviceRows[] } {
  const { layers, kvHeads, headDim } = shape;
  const form = { pools: 2 * layers, row: [kvHeads, positions * headDim], real } as const;
  // Rows that are no sequence's lie behind the others: row 0 is at the start.
  const pool = new DeviceRows(runtime, sessions, { ...form, rows: rows - exchangeRow });
  const single = runtime.device?.anchored ? new DeviceRows(runtime, sessions, { ...form, rows: 1 }) : null;
  const placeOf = (row: number) => (row < 0 ? rows - 1 - row : row);
  /** Which row the single one is a copy of. */
  let copied: number | null = null;
  // Copies are asked for between runs, in an order that matters. The next run waits for them, and after one that failed
  // no row is what it should be: none runs any more.
  let asked = ready;
  const copy = (target: DeviceRows, source: DeviceRows, from: number, to: number) => {
    asked = asked.then(() => target.copyFrom(source, from, to));
    asked.catch(() => {});
    return asked;
  };
  const view = (which: number, first: number, count: number) => {
    const inShape = [count, kvHeads, positions, headDim];
    if (single === null || first === 0) return pool.view(which, placeOf(first), inShape);
    if (count > 1) throw new Error('On this device several rows begin at row 0.');
    return single.view(which, 0, inShape);
  };
  return {
    rows,
    positions,
    pools: single === null ? [pool] : [pool, single],
    bytes: pool.bytes + (single?.bytes ?? 0),
    key: (layer, first, count) => view(2 * layer, first, count),
    value: (layer, first, count) => view(2 * layer + 1, first, count),
    move(from, to) {
      copied = null;
      copy(pool, pool, placeOf(from), placeOf(to));
    },
    swap(one, other) {
      copied = null;
      const spare = placeOf(exchangeRow);
      copy(pool, pool, placeOf(one), spare);
      copy(pool, pool, placeOf(other), placeOf(one));
      copy(pool, pool, spare, placeOf(other));
    },
    async enter(first, pasts) {
      await asked;
      if (single === null || first === 0) return;
      if (copied !== first && pasts[0]! > 0) await copy(single, pool, placeOf(first), 0);
      copied = first;
    },
    async leave(first, count) {
      if (single === null) return;
      if (first !== 0) await copy(pool, single, 0, placeOf(first));
      else if (copied !== null && copied < count) copied = null;
    },
    release() {
      pool.release();
      single?.release();
    },
  };
}
