// What a run of the decoder needs of adapters: which graph, which binding, and what is written into it before the run.

import type { ModelShape } from '../../core/base-model.ts';
import { type AdaptersInGraph, type JoinedLinear, type Reach, reaches } from '../../graph/adapted-linear.ts';
import { withoutAdapters } from '../../graph/decoder.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';
import type { TiedPages } from '../device/tie-pages.ts';
import type { Window } from '../window.ts';
import type { HostPages } from './host-pages.ts';

import { type PageReaders, pageReaders } from './page-readers.ts';
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
export type AdaptedWindow = Window & { one: OneInputs | null; mixed: MixedInputs | null; pages: TiedPages | null };

export type AdaptedRuns = {
  /** A prefill of one sequence. */
  one(row: RowAdapter | null, tokens: number, sampled: number): AdaptedRun;
  /** A decode step, by row, and in the order in which the head sees rows, where that is another. */
  mixed(rows: readonly (RowAdapter | null)[], sampled: readonly (RowAdapter | null)[]): AdaptedRun;
};

export const baseRun: AdaptedRun = { form: withoutAdapters, key: '', prepare: () => {} };

/** Where pages are in memory that JavaScript has. */
export function createAdaptedRuns(runtime: Runtime, shape: ModelShape, rowsMax: number, pages: HostPages): AdaptedRuns {
  const sizes = joinedSizes(shape);
  let rowGains: RowGains | null = null;

  const one = (row: RowAdapter | null): AdaptedRun => {
    if (row === null) return baseRun;
    const { adapter, scale } = row;
    return {
      form: { form: 'one', reach: adapter.reach },
      key: '',
      prepare(window) {
        if (window.one?.adapter !== adapter) {
          releaseAll(window.one?.tensors);
          window.one = tieOne(runtime, window.binding, sizes, adapter);
        }
        window.one.setScale(scale);
      },
    };
  };

  const mixed = (rows: readonly (RowAdapter | null)[]): AdaptedRun => {
    if (rows.every((row) => row === null)) return baseRun;
    const reach = widest(rows);
    const readers = new Map(reaches[reach].linears.map((linear) => [linear, readersOf(linear, rows)] as const));
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
        window.mixed ??= tieMixed(runtime, window.binding, { sizes, pages, gains }, rows.length, readers);
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
    pages: null,
    release() {
      releaseAll(adapted.one?.tensors);
      releaseAll(adapted.mixed?.tensors);
      adapted.pages?.release();
      window.release();
    },
  };
  return adapted;
}

/** The narrowest graph that covers all of them. */
export function widest(rows: readonly (RowAdapter | null)[]): Reach {
  const order = Object.keys(reaches) as Reach[];
  return order[Math.max(...rows.map((row) => (row ? order.indexOf(row.adapter.reach) : 0)))]!;
}

function readersOf(linear: JoinedLinear, rows: readonly (RowAdapter | null)[]): PageReaders {
  return pageReaders(
    rows.map((row) => {
      const range = row?.placement.ranges.get(linear);
      return range ? { ...range, scale: row!.scale } : null;
    }),
  );
}

const releaseAll = (tensors: readonly Tensor[] = []) => {
  for (const tensor of tensors) tensor.release();
};
