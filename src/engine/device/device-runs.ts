// What a run of the decoder needs of adapters where pages are in device memory: a prefill and a decode step read them
// alike, so neither ties anything of an adapter's own.

import type { ModelShape } from '../../core/base-model.ts';
import { type JoinedLinear, type Reach, reaches } from '../../graph/adapted-linear.ts';
import type { Runtime } from '../../runtime/session.ts';
import { type AdaptedRun, type AdaptedRuns, baseRun, widest } from '../adapters/adapted-windows.ts';
import { joinedSizes } from '../adapters/resident-adapter.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import { createRowGains } from '../adapters/row-gains.ts';
import type { DevicePages } from './device-pages.ts';
import { pageList } from './page-list.ts';
import { type PageLists, tiePages } from './tie-pages.ts';

export function createDeviceRuns(runtime: Runtime, shape: ModelShape, pages: DevicePages): AdaptedRuns {
  const sizes = joinedSizes(shape);
  const run = (form: 'one' | 'mixed', rows: Rows, sampled: Rows): AdaptedRun => {
    if (rows.every((row) => row === null)) return baseRun;
    const reach = widest(rows);
    const lists = listsOf(reach, rows, sampled);
    const { linears, gains: hasGains } = reaches[reach];
    return {
      form: { form, reach },
      key: '',
      prepare(window) {
        // Gains are a window's own: nothing else says which rows they are of.
        window.pages ??= tiePages(runtime, window.binding, {
          ...{ sizes, pages, form, linears, rows: rows.length },
          gains: hasGains ? createRowGains(shape, rows.length) : null,
        });
        window.pages.set(lists, adaptersOf(rows), adaptersOf(sampled));
      },
    };
  };
  return { one: (row) => run('one', [row], [row]), mixed: (rows, sampled) => run('mixed', rows, sampled) };
}

type Rows = readonly (RowAdapter | null)[];

const adaptersOf = (rows: Rows) => rows.map((row) => row?.adapter ?? null);

/** The head sees sampled rows alone. */
function listsOf(reach: Reach, rows: Rows, sampled: Rows): PageLists {
  const linears: readonly JoinedLinear[] = reaches[reach].linears;
  return new Map(
    linears.map((linear) => {
      const reading = (linear === 'head' ? sampled : rows).map((row) => {
        if (row === null) return null;
        const range = row.placement.ranges.get(linear);
        // Without its pages a row would silently be the base's.
        if (!range && row.adapter.linears.get(linear)?.pages) throw new Error(`a row has no pages of ${linear}`);
        return range ? { ...range, scale: row.scale } : null;
      });
      return [linear, pageList(reading)];
    }),
  );
}
