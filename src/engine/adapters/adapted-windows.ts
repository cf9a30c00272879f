// What a run of the decoder needs of adapters: which graph, which binding, and what is written into it before the run.

import type { ModelShape } from '../../core/base-model.ts';
import { type AdaptersInGraph, type JoinedLinear, type Reach, reaches } from '../../graph/adapted-linear.ts';
import { withoutAdapters } from '../../graph/decoder.ts';
import type { GraphTarget } from '../../graph/target.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';
import { tiePages } from '../device/tie-pages.ts';
import type { Window } from '../window.ts';
import type { PageMemory } from './page-memory.ts';
import { type PageReaders, pageReaders, type RangeRules } from './page-readers.ts';
import { joinedSizes } from './resident-adapter.ts';
import type { RowAdapter } from './row-adapter.ts';
import { createRowGains, type RowGains } from './row-gains.ts';
import { type MixedInputs, tieMixed } from './tie-mixed.ts';
import { type OneInputs, tieOne } from './tie-one.ts';

/** One run's use of adapters. */
export type AdaptedRun = {
  readonly form: AdaptersInGraph;
  /** Tells bindings apart that tie other ranges of pages. */
  readonly key: string;
  /** Ties what a new window lacks, and writes what this run needs. */
  prepare(window: AdaptedWindow): void;
};

/** What is tied beside the base's inputs, by `prepare` alone. */
export type AdaptedWindow = Window & { one: OneInputs | null; mixed: MixedInputs | null };

export type AdaptedRuns = {
  /** A prefill of one sequence. */
  one(row: RowAdapter | null): AdaptedRun;
  /** A decode step, by row. */
  mixed(rows: readonly (RowAdapter | null)[]): AdaptedRun;
};

const baseRun: AdaptedRun = { form: withoutAdapters, key: '', prepare: () => {} };

export type AdaptedRunsOptions = {
  readonly shape: ModelShape;
  readonly rows: number;
  readonly memory: PageMemory;
  readonly on: GraphTarget['on'];
};

export function createAdaptedRuns(runtime: Runtime, options: AdaptedRunsOptions): AdaptedRuns {
  const { shape, rows: rowsMax, memory, on } = options;
  const sizes = joinedSizes(shape);
  const rules = on === 'device' ? { anchored: runtime.device?.anchored ?? false, pagesMin: 1 } : undefined;
  let rowGains: RowGains | null = null;

  const readersBy = (reach: Reach, rows: readonly (RowAdapter | null)[]) =>
    new Map(reaches[reach].linears.map((linear) => [linear, readersOf(linear, rows, rules)] as const));

  const one = (row: RowAdapter | null): AdaptedRun => {
    if (row === null) return baseRun;
    const { adapter } = row;
    const form = { form: 'one', reach: adapter.reach } as const;
    if (on === 'host') {
      return {
        form,
        key: '',
        prepare(window) {
          if (window.one?.adapter !== adapter) {
            releaseAll(window.one?.tensors);
            window.one = tieOne(runtime, window.binding, sizes, adapter);
          }
          window.one.set(row);
        },
      };
    }
    const ranges = readersBy(adapter.reach, [row]);
    const { gains: hasGains } = reaches[adapter.reach];
    return {
      form,
      key: [...ranges.values()].map(({ first, pages }) => [first, pages].join()).join(' '),
      prepare(window) {
        window.one ??= tiePages(runtime, window.binding, { sizes, memory, ranges, hasGains });
        window.one.set(row);
      },
    };
  };

  const mixed = (rows: readonly (RowAdapter | null)[]): AdaptedRun => {
    if (rows.every((row) => row === null)) return baseRun;
    const reach = widest(rows);
    const readers = readersBy(reach, rows);
    if (reaches[reach].gains) {
      rowGains ??= createRowGains(shape, rowsMax);
      rowGains.set(rows.map((row) => row?.adapter ?? null));
    }
    const gains = reaches[reach].gains ? rowGains : null;
    return {
      form: { form: 'mixed', reach },
      key: [...readers.values()]
        .map(({ first, pages, served, own }) => [first, pages, served, own.length].join())
        .join(' '),
      prepare(window) {
        window.mixed ??= tieMixed(runtime, window.binding, { sizes, memory, on, gains }, rows.length, readers);
        window.mixed.set(readers);
      },
    };
  };
  return { one, mixed };
}

export function adaptedWindow(window: Window): AdaptedWindow {
  const adapted: AdaptedWindow = {
    ...window,
    one: null,
    mixed: null,
    release() {
      releaseAll(adapted.one?.tensors);
      releaseAll(adapted.mixed?.tensors);
      window.release();
    },
  };
  return adapted;
}

function widest(rows: readonly (RowAdapter | null)[]): Reach {
  const order = Object.keys(reaches) as Reach[];
  return order[Math.max(...rows.map((row) => (row ? order.indexOf(row.adapter.reach) : 0)))]!;
}

function readersOf(linear: JoinedLinear, rows: readonly (RowAdapter | null)[], rules?: RangeRules): PageReaders {
  return pageReaders(
    rows.map((row) => {
      const range = row?.placement.ranges.get(linear);
      return range ? { ...range, scale: row!.scale } : null;
    }),
    rules,
  );
}

const releaseAll = (tensors: readonly Tensor[] = []) => {
  for (const tensor of tensors) tensor.release();
};
