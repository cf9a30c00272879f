// Decode steps of few sizes, where a card replays those whose sizes came before: sequences join and leave all the time,
// and each number of rows would be another recording. So a step takes what lies behind its own rows along, up to the
// next size. What that holds does not change for whoever it belongs to: its token is written where its next one will
// be.

import type { DeviceRun } from './device-run.ts';

/** Powers of two, then multiples of eight: less than twice the rows, and mostly a few more. */
export function evenRows(rows: number): number {
  if (rows <= 8) return 2 ** Math.ceil(Math.log2(rows));
  const unit = rows <= 64 ? 8 : 32;
  return Math.ceil(rows / unit) * unit;
}

/** @param beside tokens that the places behind the run's hold */
export function withRowsBeside(run: DeviceRun, beside: readonly number[]): DeviceRun {
  const nothing = beside.map(() => 0);
  const count = run.rows.length;
  return {
    ...run,
    rows: [...run.rows, ...nothing],
    pasts: [...run.pasts, ...beside],
    tokens: [...run.tokens, ...nothing],
    sampled: [...run.sampled, ...beside.map((_, i) => count + i)],
    adapters: [...run.adapters, ...beside.map(() => null)],
  };
}
