// How fast the device copies its own memory: what a step that only reads its weights could at most reach.

import { systemClock } from '../../src/core/clock.ts';
import { DeviceRows } from '../../src/engine/device/device-rows.ts';
import { createRowSessions } from '../../src/engine/device/row-sessions.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { spread } from '../statistics.ts';

const rounds = 10;

/** Bytes a second, read and written, of copying rows of `bytes` within a pool. */
export async function copyBandwidth(runtime: Runtime, bytes: number): Promise<number> {
  const sessions = createRowSessions(runtime, 'float32');
  const pool = new DeviceRows(runtime, sessions, { pools: 1, rows: 2, row: [1, bytes / 4], real: 'float32' });
  const seconds: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const start = systemClock.monotonic();
    await pool.copyFrom(pool, 0, 1);
    if (round >= 0) seconds.push((systemClock.monotonic() - start) / 1000);
  }
  await sessions.release();
  pool.release();
  // The row is taken out and put in: read twice and written twice.
  return (4 * bytes) / spread(seconds).min;
}
