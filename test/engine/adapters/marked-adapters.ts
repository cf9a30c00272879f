// Adapters whose every number is their own mark, for a decoder without arithmetic: whoever reads the pages of another
// adapter, pages that are only half filled, or pages that were taken away reads another mark.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AppliedAdapter } from '../../../src/core/adapter.ts';
import type { ModelShape } from '../../../src/core/base-model.ts';
import type { Clock } from '../../../src/core/clock.ts';
import { LorikeetError } from '../../../src/core/errors.ts';
import type { RowAdapter } from '../../../src/engine/adapters/adapted-windows.ts';
import { AdapterStore } from '../../../src/engine/adapters/adapter-store.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import { PagePool } from '../../../src/engine/adapters/page-pool.ts';
import {
  createResident,
  joinedSizes,
  pageRanks,
  type ResidentAdapter,
} from '../../../src/engine/adapters/resident-adapter.ts';
import { tinyShape } from '../../models/model-folder.ts';

export const markedShape: ModelShape = { ...tinyShape, layers: 2, hidden: 2, intermediate: 2, heads: 1, headDim: 2 };

/** Adapter number `mark` (1, 2, ...) at a scale. Its rank and the linears that it touches follow from the number. */
export const marked = (mark: number, scale = 1): AppliedAdapter => ({
  files: { digest: `sha256:${mark}`, config: '', weights: '' },
  scale,
});

const markOf = ({ files }: AppliedAdapter) => Number(files.digest.slice('sha256:'.length));

export function markedResident(mark: number): ResidentAdapter {
  const ranks = pageRanks * (1 + (mark % 3));
  const touched = joinedSizes(markedShape).filter(
    ({ linear }, i) => linear !== 'head' && (i === mark % 4 || mark % 2 === 0),
  );
  const linears = touched.map(({ linear, layers, in: inputs, outs }) => {
    const part = (out: number) => ({
      ranks,
      a: new Float32Array(layers * ranks * inputs).fill(mark),
      b: new Float32Array(layers * ranks * out).fill(mark),
    });
    return [linear, { pages: ranks / pageRanks, parts: outs.map(part), gains: null }] as const;
  });
  return createResident(`sha256:${mark}`, new Map(linears));
}

export type MarkedStoreOptions = {
  readonly clock: Clock;
  readonly bytesMax?: number;
  /** Turns of the event loop that a load takes. */
  readonly turns?: () => number;
  /** Adapters that turn out to be damaged. */
  readonly broken?: (mark: number) => boolean;
};

export function markedStore({ clock, bytesMax = 2 ** 30, turns = () => 0, broken }: MarkedStoreOptions): AdapterStore {
  return new AdapterStore({
    clock,
    bytesMax,
    async read(applied) {
      for (let turn = turns(); turn > 0; turn--) await nextTurn();
      if (broken?.(markOf(applied))) throw new LorikeetError('adapter_corrupt');
      return markedResident(markOf(applied));
    },
    combine: (key, scaled) => combineAdapters(key, scaled, markedShape, { take: async () => {} }),
    onDrop: () => {},
    onChange: () => {},
  });
}

export function markedPool(slots: number, clock: Clock): PagePool {
  return new PagePool({ shape: markedShape, slots, clock, breath: { take: () => nextTurn() }, onChange: () => {} });
}

/**
 * The mark that a row reads, in a decode step from its pages and in a prefill from its adapter; NaN where they do not
 * hold one adapter, whole.
 */
export function readMark(row: RowAdapter | null, phase: 'prefill' | 'decode', pool: PagePool): number {
  if (row === null) return 0;
  const marks = new Set<number>();
  for (const { linear, layers } of joinedSizes(markedShape)) {
    const resident = row.adapter.linears.get(linear);
    for (const [part, { a, b }] of (resident?.parts ?? []).entries()) {
      const range = row.placement.ranges.get(linear)!;
      for (let layer = 0; layer < layers; layer++) {
        const read =
          phase === 'prefill' ? [a, b] : [pool.a(linear, part, layer, range), pool.b(linear, part, layer, range)];
        for (const matrix of read) for (const value of matrix) marks.add(value);
      }
    }
  }
  return marks.size === 1 ? [...marks][0]! * row.scale : Number.NaN;
}
