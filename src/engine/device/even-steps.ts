// Decode steps of few sizes, where a card replays those whose sizes came before: sequences join and leave all the time,
// and each number of rows would be another recording. So a step takes the rows behind its own along, up to the next
// size. What they hold does not change for whoever they belong to: their token is written where their next one will be.

import type { ForwardTop } from '../forward-top.ts';
import type { RowLengths } from './row-lengths.ts';

/** Powers of two, then multiples of eight: less than twice the rows, and mostly a few more. */
export function evenRows(rows: number): number {
  if (rows <= 8) return 2 ** Math.ceil(Math.log2(rows));
  const unit = rows <= 64 ? 8 : 32;
  return Math.ceil(rows / unit) * unit;
}

export function inEvenSteps(forwardTop: ForwardTop, lengths: RowLengths): ForwardTop {
  return async (batch, temperatures) => {
    const { first, pasts } = batch;
    const count = pasts.length;
    const even = Math.min(evenRows(count), lengths.rows - first);
    // No rows lie behind the one that is nobody's.
    if (even <= count || first < 0) return forwardTop(batch, temperatures);
    const beside = Array.from({ length: even - count }, (_, i) => first + count + i);
    const held = beside.map((row) => lengths.next(row));
    const zeros = beside.map(() => 0);
    const { adapters } = batch;
    try {
      const { rows, whole } = await forwardTop(
        {
          ...batch,
          pasts: [...pasts, ...held],
          tokens: [...batch.tokens, ...zeros],
          sampled: [...batch.sampled, ...beside.map((_, i) => count + i)],
          ...(adapters && adapters.length > 0 ? { adapters: [...adapters, ...beside.map(() => null)] } : {}),
        },
        [...temperatures, ...zeros],
      );
      return { rows: rows.slice(0, count), whole };
    } finally {
      // As short as they are: attention reads as far as that.
      for (const [i, row] of beside.entries()) lengths.set(row, held[i]!);
    }
  };
}
