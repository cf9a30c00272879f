// What a run of the decoder needs of adapters where pages are in device memory: a prefill and a decode step read them
// alike, so neither ties anything of an adapter's own.

import type { ModelShape } from '../../core/base-model.ts';
import { type JoinedLinear, reaches } from '../../graph/adapted-linear.ts';
import type { Runtime } from '../../runtime/session.ts';
import { type AdaptedRun, type AdaptedRuns, baseRun, widest } from '../adapters/adapted-windows.ts';
import { joinedSizes } from '../adapters/resident-adapter.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import { createRowGains } from '../adapters/row-gains.ts';
import type { DevicePages } from './device-pages.ts';
import type { RowPages } from './page-list.ts';
import { sentLists, sentTable } from './sent-pages.ts';
import { tiePages } from './tie-pages.ts';

/** @param hasOperators the graph reads tables of pages, and not lists */
export function createDeviceRuns(
  runtime: Runtime,
  shape: ModelShape,
  pages: DevicePages,
  hasOperators: boolean,
): AdaptedRuns {
  const sizes = joinedSizes(shape);
  type Of = { readonly rows: Rows; readonly sampled: Rows; readonly sequences: Rows; readonly ends: Rows };
  /** `sequences` and `ends` are rows, and sampled rows, of which each may stand for many tokens: gains are theirs. */
  const run = (form: 'one' | 'mixed', { rows, sampled, sequences, ends }: Of): AdaptedRun => {
    if (rows.every((row) => row === null)) return baseRun;
    const reach = widest(sequences);
    const { linears, gains: hasGains }: { linears: readonly JoinedLinear[]; gains: boolean } = reaches[reach];
    const sent = linears.flatMap((linear) => {
      const reading = (linear === 'head' ? sampled : rows).map((row) => pagesOf(row, linear));
      return hasOperators ? sentTable(linear, reading, form === 'mixed') : sentLists(form, linear, reading);
    });
    return {
      // The operator takes a prompt's tokens for rows of a batch.
      form: { form: hasOperators ? 'mixed' : form, reach },
      key: '',
      prepare(window) {
        // Gains are a window's own: nothing else says which rows they are of.
        window.pages ??= tiePages(runtime, window.binding, {
          ...{ sizes, pages, linears, rows: sequences.length },
          gains: hasGains ? createRowGains(shape, sequences.length) : null,
        });
        window.pages.set(sent, adaptersOf(sequences), adaptersOf(ends));
      },
    };
  };
  return {
    one(row, tokens, sampled) {
      const times = (count: number) => (hasOperators ? new Array<RowAdapter | null>(count).fill(row) : [row]);
      return run('one', { rows: times(tokens), sampled: times(sampled), sequences: [row], ends: [row] });
    },
    mixed: (rows, sampled) => run('mixed', { rows, sampled, sequences: rows, ends: sampled }),
  };
}

type Rows = readonly (RowAdapter | null)[];

const adaptersOf = (rows: Rows) => rows.map((row) => row?.adapter ?? null);

function pagesOf(row: RowAdapter | null, linear: JoinedLinear): RowPages | null {
  if (row === null) return null;
  const range = row.placement.ranges.get(linear);
  // Without its pages a row would silently be the base's.
  if (!range && row.adapter.linears.get(linear)?.pages) throw new Error(`a row has no pages of ${linear}`);
  return range ? { ...range, scale: row.scale } : null;
}
