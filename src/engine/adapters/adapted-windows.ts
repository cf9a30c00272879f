// What a run of the decoder needs of adapters: which graph, which binding, and what is written into it before the run.

import type { ModelShape } from '../../core/base-model.ts';
import type { AdaptersInGraph, JoinedLinear } from '../../graph/adapted-linear.ts';
import { adapterNames } from '../../graph/adapted-linear.ts';
import { withoutAdapters } from '../../graph/decoder.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';
import type { Window } from '../window.ts';
import { type PageBlocks, pageBlocks } from './page-blocks.ts';
import type { PagePool, Placement } from './page-pool.ts';
import { joinedSizes, type ResidentAdapter } from './resident-adapter.ts';
import { createRowGains, type RowGains } from './row-gains.ts';
import { tieMixed } from './tie-mixed.ts';
import { tieOne } from './tie-one.ts';

/** An adapter as one row uses it. */
export type RowAdapter = {
  readonly adapter: ResidentAdapter;
  readonly scale: number;
  /** Its pages, which a decode step reads; a prefill reads the adapter itself. */
  readonly placement: Placement;
};

/** One run's use of adapters. */
export type AdaptedRun = {
  readonly form: AdaptersInGraph;
  /** Tells bindings apart that tie other ranges of pages. */
  readonly key: string;
  /** Ties what a new window lacks, and writes what this run needs. */
  prepare(window: AdaptedWindow): void;
};

export type AdaptedWindow = Window & {
  /** What is tied: by `prepare` alone. */
  adapters: { readonly adapter: ResidentAdapter | null; set(run: unknown): void; release(): void } | null;
};

export type AdaptedRuns = {
  /** A prefill of one sequence. */
  one(row: RowAdapter | null): AdaptedRun;
  /** A decode step, by row. */
  mixed(rows: readonly (RowAdapter | null)[]): AdaptedRun;
};

const baseRun: AdaptedRun = { form: withoutAdapters, key: '', prepare: () => {} };

export function createAdaptedRuns(runtime: Runtime, shape: ModelShape, rowsMax: number, pool: PagePool): AdaptedRuns {
  const sizes = joinedSizes(shape);
  let rowGains: RowGains | null = null;

  const one = (row: RowAdapter | null): AdaptedRun => {
    if (row === null) return baseRun;
    const { adapter, scale } = row;
    const { extras } = adapter;
    return {
      form: { form: 'one', extras },
      key: '',
      prepare(window) {
        if (window.adapters?.adapter !== adapter) {
          window.adapters?.release();
          const scales = new Float32Array(1);
          const scaleTensor = runtime.tensor(scales, [1]);
          window.binding.input(adapterNames.scale, scaleTensor);
          const tensors = [scaleTensor, ...tieOne(runtime, window.binding, sizes, adapter, extras)];
          window.adapters = {
            adapter,
            set: (scale) => {
              scales[0] = scale as number;
            },
            release: () => releaseAll(tensors),
          };
        }
        window.adapters.set(scale);
      },
    };
  };

  const mixed = (rows: readonly (RowAdapter | null)[]): AdaptedRun => {
    if (rows.every((row) => row === null)) return baseRun;
    const extras = rows.some((row) => row?.adapter.extras);
    const blocks = new Map(sizes.map(({ linear }) => [linear, blocksOf(linear, rows)] as const));
    if (extras) {
      rowGains ??= createRowGains(shape, rowsMax);
      rowGains.set(rows.map((row) => row?.adapter ?? null));
    }
    const gains = extras ? rowGains : null;
    return {
      form: { form: 'mixed', extras },
      key: [...blocks.values()].map((range) => [range.first, range.pages, range.width, range.served].join()).join(' '),
      prepare(window) {
        const source = { sizes, pool, gains };
        window.adapters ??= tiedMixed(runtime, window.binding, source, rows.length, blocks);
        window.adapters.set(blocks);
      },
    };
  };
  return { one, mixed };
}

/** Outside of the run's scope, which would live as long as the window and keep the adapters of the first run's rows. */
function tiedMixed(...inputs: Parameters<typeof tieMixed>): NonNullable<AdaptedWindow['adapters']> {
  const { set, tensors } = tieMixed(...inputs);
  return { adapter: null, set: set as (run: unknown) => void, release: () => releaseAll(tensors) };
}

function blocksOf(linear: JoinedLinear, rows: readonly (RowAdapter | null)[]): PageBlocks {
  return pageBlocks(
    rows.map((row) => {
      const range = row?.placement.ranges.get(linear);
      return range ? { ...range, scale: row!.scale } : null;
    }),
  );
}

const releaseAll = (tensors: readonly Tensor[]) => {
  for (const tensor of tensors) tensor.release();
};
