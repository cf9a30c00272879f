// Decode steps of few sizes, where a card replays steps of sizes that it has recorded. Sequences join and leave all the
// time, and each number of rows would be another recording, so a step takes rows along up to the next size. Over blocks
// these are idle rows, which belong to no sequence. Otherwise they are the rows behind the step's own. This does not
// change what these hold: the extra token is written where their next token will be.

import { idleRow } from '../kv/kv-cache.ts';
import type { DeviceRun } from './device-run.ts';
import type { BatchPart, ForwardBatch } from './forward-batch.ts';

/** The next size: powers of two up to 8, then multiples of 8 or 32; less than twice `rows`, and mostly a few more. */
export function evenRows(rows: number): number {
  if (rows <= 8) return 2 ** Math.ceil(Math.log2(rows));
  const unit = rows <= 64 ? 8 : 32;
  return Math.ceil(rows / unit) * unit;
}

const idlePart: BatchPart = {
  ...{ row: idleRow, past: 0, to: 1, tokens: [0], kind: 'answer', sampled: [], adapter: null },
};

/** @param isSampled whether results of the idle rows are wanted, which then come last */
export function withIdleRows({ parts, ...batch }: ForwardBatch, count: number, isSampled: boolean): ForwardBatch {
  const idle = isSampled ? { ...idlePart, sampled: [0] } : idlePart;
  return { ...batch, parts: [...parts, ...new Array<BatchPart>(count).fill(idle)] };
}

/** @param beside tokens held by each of the places behind the run's rows */
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
