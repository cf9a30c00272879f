// One run over a device's rows, which takes equally many new tokens of each row. A batch is split into such runs: all
// that decodes at once, and each sequence with several tokens by itself.

import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { BatchPart } from './forward-batch.ts';

export type Phase = 'prefill' | 'decode';

export type DeviceRun = {
  readonly phase: Phase;
  readonly rows: readonly number[];
  readonly pasts: readonly number[];
  /** Row-major [rows, new tokens]. */
  readonly tokens: readonly number[];
  /** Indices into `tokens` of those whose result is wanted. */
  readonly sampled: readonly number[];
  readonly adapters: readonly (RowAdapter | null)[];
};

const decodes = ({ kind, past, to }: BatchPart) => kind === 'answer' && to - past === 1 && past > 0;

/** Neighbouring parts that take one token of an answer form one run; any other part is a run by itself. */
export function runsOf(parts: readonly BatchPart[]): DeviceRun[] {
  const runs: BatchPart[][] = [];
  for (const part of parts) {
    const last = runs.at(-1);
    if (last && decodes(part) && decodes(last[0]!)) last.push(part);
    else runs.push([part]);
  }
  return runs.map((together) => (decodes(together[0]!) ? decodeRun(together) : prefillRun(together[0]!)));
}

function decodeRun(parts: readonly BatchPart[]): DeviceRun {
  return {
    phase: 'decode',
    rows: parts.map(({ row }) => row),
    pasts: parts.map(({ past }) => past),
    tokens: parts.map(({ tokens, past }) => tokens[past]!),
    sampled: parts.flatMap(({ sampled }, i) => (sampled.length > 0 ? [i] : [])),
    adapters: parts.map(({ adapter }) => adapter),
  };
}

/** A lone token is summed in another order than several, so the token before it is computed again beside it. */
function prefillRun({ row, past: start, to, tokens, sampled, adapter }: BatchPart): DeviceRun {
  const isLone = start > 0 && (to - start === 1 || start === 1) && tokens[start - 1] !== undefined;
  const past = isLone ? start - 1 : start;
  return {
    phase: 'prefill',
    rows: [row],
    pasts: [past],
    tokens: tokens.slice(past, to),
    sampled: sampled.map((position) => position - past),
    adapters: [adapter],
  };
}

/** The same run with row `order[i]` in place i. Results still come in the order of `sampled`. */
export function inOrder(run: DeviceRun, order: readonly number[] | null): DeviceRun {
  if (order === null) return run;
  const { rows, pasts, tokens, sampled, adapters } = run;
  const length = tokens.length / pasts.length;
  const placeOf = new Map(order.map((row, place) => [row, place]));
  return {
    ...run,
    rows: order.map((row) => rows[row]!),
    pasts: order.map((row) => pasts[row]!),
    tokens: order.flatMap((row) => tokens.slice(row * length, (row + 1) * length)),
    sampled: sampled.map((index) => placeOf.get(Math.floor(index / length))! * length + (index % length)),
    adapters: order.map((row) => adapters[row]!),
  };
}
