// The KV cache as rows of device memory, which on WebGPU can be viewed from its start only. A run's rows lie at the
// start of a pool while it runs; `RowPlaces` says in which pool, and what has to be copied for that. Knows pools and
// when they are touched; knows no places.
//
//   pool 0   all rows, and room to rearrange them
//   pool 1   one row: a prompt is read beside rows that decode, and disturbs none of them
//   pool 2   all rows once more, while there are merged models: their rows decode in turns with the base's
//
// With the base and one merge, each group of rows stays in a pool of its own and a decode step copies nothing. More
// groups take turns, and each turn copies the group in and out.
//
// Invariant: rows are copied only between runs, and runs follow one another, so a run finds its rows where it was told.

import type { ModelShape } from '../../core/base-model.ts';
import { serially } from '../../core/serially.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { DeviceRows } from './device-rows.ts';
import type { KvCache } from './kv-cache.ts';
import { type RowCopy, RowPlaces } from './row-places.ts';
import type { RowSessions } from './row-sessions.ts';

export type DeviceKvForm = {
  readonly rows: number;
  readonly positions: number;
  readonly real: Real;
  /** Resolves when the rows can be used. */
  readonly ready: Promise<void>;
  /** Called before a pool's memory is released: nothing may stay bound to it. */
  readonly onGone: (place: string) => void;
};

export type DeviceKv = KvCache & {
  /** The pools that exist from the start. */
  readonly pools: readonly DeviceRows[];
};

/** Rows of the first pool beyond the sequences': the probe's, and one that is always free. */
const spared = 2;

/** Index of the pool that exists only while there are merged models. */
const groupPool = 2;

export function createDeviceKv(
  runtime: Runtime,
  sessions: RowSessions,
  { layers, kvHeads, headDim }: ModelShape,
  { rows, positions, real, ready, onGone }: DeviceKvForm,
): DeviceKv {
  const form = { pools: 2 * layers, row: [kvHeads, positions * headDim], real } as const;
  const pool = (rows: number) => new DeviceRows(runtime, sessions, { ...form, rows });
  const pools = [pool(rows + spared), pool(1)];
  const places = new RowPlaces([rows + spared, 1]);
  /** Tokens that each row holds. */
  const lengths = new Map<number, number>();
  const inTurn = serially();
  // A failed copy leaves rows in an unknown state: it fails all later runs, too.
  let copied = ready;
  const copy = (copies: readonly RowCopy[]) => {
    copied = copied.then(() => copyAll(pools, copies));
    copied.catch(() => {});
    return copied;
  };
  const open = async () => {
    const added = await runtime.betweenRuns(() => pool(rows));
    try {
      await added.clear();
    } catch (error) {
      await runtime.betweenRuns(() => added.release());
      throw error;
    }
    pools.push(added);
    places.open(rows);
  };
  const close = async () => {
    await copy(places.close());
    const gone = pools.pop()!;
    onGone(placeOf(groupPool));
    await runtime.betweenRuns(() => gone.release());
  };
  return {
    rows,
    positions,
    ...{ blockTokens: positions, blocks: rows },
    pools: [...pools],
    get bytes() {
      return pools.reduce((sum, { bytes }) => sum + bytes, 0);
    },
    hasRoom: () => true,
    reserve: () => true,
    clear(row) {
      lengths.delete(row);
      places.drop(row);
    },
    get usage() {
      return places.share;
    },
    use: (rows, pasts, added, work) =>
      inTurn(async () => {
        const { pool, order, copies } = places.gather(rows, pasts);
        await copy(copies);
        for (const [i, row] of rows.entries()) lengths.set(row, pasts[i]! + added[i]!);
        const view = (which: number, count: number) =>
          pools[pool]!.view(which, 0, [count, kvHeads, positions, headDim]);
        return work({
          ...{ place: placeOf(pool), order, blocks: null },
          key: (layer, count = rows.length) => view(2 * layer, count),
          value: (layer, count = rows.length) => view(2 * layer + 1, count),
          // Bounded to leave room for the run's token. A full row has no next token and ends in this very step, so its
          // last one is not read any more.
          beside: (count) =>
            places
              .behind(pool, rows.length, count)
              .map((row) => (row === null ? 0 : Math.min(lengths.get(row) ?? 0, positions - 1))),
        });
      }),
    ...{ prefixes: null, write: null },
    expectGroups: (count) =>
      inTurn(async () => {
        const isOpen = pools.length > groupPool;
        if (count > 0 && !isOpen) await open();
        if (count === 0 && isOpen) await close();
      }),
    release() {
      for (const rows of pools) rows.release();
    },
  };
}

const placeOf = (pool: number) => `pool${pool}`;

/**
 * Copies rows in order. Neighbours between the same two pools are copied at once, since no copy reads what another one
 * wrote.
 */
async function copyAll(pools: readonly DeviceRows[], copies: readonly RowCopy[]): Promise<void> {
  for (let start = 0; start < copies.length; ) {
    const { from, to } = copies[start]!;
    const next = copies.findIndex((copy, i) => i > start && (copy.from.pool !== from.pool || copy.to.pool !== to.pool));
    const together = copies.slice(start, next < 0 ? copies.length : next);
    const slots = (end: keyof RowCopy) => together.map((copy) => copy[end].slot);
    await pools[to.pool]!.copyFrom(pools[from.pool]!, slots('from'), slots('to'));
    start += together.length;
  }
}
