// Decode steps of few sizes, where a card replays those whose sizes came before: sequences join and leave all the time,
// and each number of rows would be another recording. So a step takes rows along, up to the next size. Over blocks
// those are idle ones, which are nobody's. Else they are what lies behind its own rows, and what that holds does not
// change for whoever it belongs to: its token is written where its next one will be.

import { idleRow } from '../kv/kv-cache.ts';
import type { DeviceRun } from './device-run.ts';
import type { BatchPart, ForwardBatch } from './forward-batch.ts';

/** Powers of two, then multiples of eight: less than twice the rows, and mostly a few more. */
export function evenRows(rows: number): number {
  if (rows <= 8) return 2 ** Math.ceil(Math.log2(rows));
  const unit = rows <= 64 ? 8 : 32;
  return Math.ceil(rows / unit) * unit;
}

const idlePart: BatchPart = {
  ...{ row: idleRow, past: 0, to: 1, tokens: [0], kind: 'answer', sampled: [], adapter: null },
};

/** @param isSampled results of theirs come last */
export function withIdleRows({ parts, ...batch }: ForwardBatch, count: number, isSampled: boolean): ForwardBatch {
  const idle = isSampled ? { ...idlePart, sampled: [0] } : idlePart;
  return { ...batch, parts: [...parts, ...new Array<BatchPart>(count).fill(idle)] };
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
