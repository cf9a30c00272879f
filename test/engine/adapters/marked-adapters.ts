// Adapters whose every value is their own mark, for a decoder without arithmetic: a row that reads pages of another
// adapter, half-filled pages, or pages that were taken away reads another mark.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AppliedAdapter } from '../../../src/core/adapter.ts';
import type { ModelShape } from '../../../src/core/base-model.ts';
import type { Clock } from '../../../src/core/clock.ts';
import { type ErrorCode, LorikeetError } from '../../../src/core/errors.ts';
import { pageBlocks, pageElements, pageRanks } from '../../../src/core/page-sizes.ts';
import { AdapterStore } from '../../../src/engine/adapters/adapter-store.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import { HostPages } from '../../../src/engine/adapters/host-pages.ts';
import { PagePool } from '../../../src/engine/adapters/page-pool.ts';
import {
  createLinear,
  createResident,
  joinedSizes,
  type ResidentAdapter,
} from '../../../src/engine/adapters/resident-adapter.ts';
import type { RowAdapter } from '../../../src/engine/adapters/row-adapter.ts';
import type { Runtime, Tensor } from '../../../src/runtime/session.ts';
import { tinyShape } from '../../models/model-folder.ts';

export const markedShape: ModelShape = { ...tinyShape, layers: 2, hidden: 2, intermediate: 2, heads: 1, headDim: 2 };

/** Adapter number `mark` (1, 2, ...) at a scale. Its ranks and the linears that it touches follow from the number. */
export const marked = (mark: number, scale = 1): AppliedAdapter => ({
  files: { digest: `sha256:${mark}`, config: '', weights: '' },
  scale,
});

export const markOf = ({ files }: AppliedAdapter): number => Number(files.digest.slice('sha256:'.length));

const pagesOfMark = (mark: number) => [2, 1, 1, 2, 3, 1, 4, 8, 5, 16][mark % 10]!;

export function markedResident(mark: number): ResidentAdapter {
  const touched = joinedSizes(markedShape).filter(
    ({ linear }, i) => linear !== 'head' && (i === mark % 4 || mark % 2 === 0),
  );
  const linears = touched.map(({ linear, layers, in: inputs, outs }) => {
    const part = (out: number, i: number) => {
      // The last of several parts has one page, however many the others have; some adapters do not fill their last
      // page.
      const ranks = pageRanks * (i > 0 && i === outs.length - 1 ? 1 : pagesOfMark(mark)) - (mark % 7 === 6 ? 5 : 0);
      const a = new Float16Array(layers * ranks * inputs).fill(mark);
      return { ranks, bits: 16 as const, a, b: new Float16Array(layers * ranks * out).fill(mark) };
    };
    return [linear, createLinear(outs.map(part), 1, null)] as const;
  });
  return createResident(`sha256:${mark}`, new Map(linears));
}

/** Pages that adapters together take in the linear that needs most. */
export function markedPages(adapters: readonly AppliedAdapter[]): number {
  const residents = adapters.map((adapter) => markedResident(markOf(adapter)));
  const pages = joinedSizes(markedShape).map(({ linear, outs }) => {
    const parts = outs.map((_, part) =>
      residents.reduce(
        (pages, { linears }) => pages + Math.ceil((linears.get(linear)?.parts[part]?.ranks ?? 0) / pageRanks),
        0,
      ),
    );
    return Math.max(...parts);
  });
  return Math.max(...pages);
}

type MarkedLimits = {
  readonly isBroken: (mark: number) => boolean;
  readonly slots: number;
  readonly bytesMax: number;
};

/** The error with which a sequence on these adapters must end; null where it must run. */
export function failureOfMarked(
  adapters: readonly AppliedAdapter[],
  { isBroken, slots, bytesMax }: MarkedLimits,
): ErrorCode | null {
  const bytes = adapters.map((adapter) => markedResident(markOf(adapter)).bytes);
  // The first of several errors, in the request's order, is reported.
  for (const [i, adapter] of adapters.entries()) {
    if (isBroken(markOf(adapter))) return 'adapter_corrupt';
    if (bytes[i]! > bytesMax) return 'adapter_too_large';
  }
  const isTooLarge = markedPages(adapters) > slots || bytes.reduce((sum, each) => sum + each, 0) > bytesMax;
  return adapters.length > 0 && isTooLarge ? 'adapter_too_large' : null;
}

export type MarkedStoreOptions = {
  readonly clock: Clock;
  readonly bytesMax?: number;
  /** Turns of the event loop that each load takes. */
  readonly turns?: () => number;
  /** Whether an adapter turns out to be damaged. */
  readonly broken?: (mark: number) => boolean;
  readonly onChange?: () => void;
};

export function markedStore(options: MarkedStoreOptions): AdapterStore {
  const { clock, bytesMax = 2 ** 30, turns = () => 0, broken, onChange = () => {} } = options;
  return new AdapterStore({
    clock,
    bytesMax,
    async read(applied) {
      for (let turn = turns(); turn > 0; turn--) await nextTurn();
      if (broken?.(markOf(applied))) throw new LorikeetError('adapter_corrupt');
      return markedResident(markOf(applied));
    },
    combine: (key, scaled) => combineAdapters(key, scaled, markedShape, { take: async () => {} }),
    onChange,
  });
}

/** A runtime whose tensors show their memory. */
const openMemory = {
  tensor: (data: Float16Array, shape: readonly number[]) => ({ data, shape, release() {} }),
} as unknown as Runtime;
const dataOf = (tensor: Tensor) => (tensor as unknown as { readonly data: Float16Array }).data;

export function markedPool(slots: number, clock: Clock, onChange = () => {}): PagePool<HostPages> {
  const memory = new HostPages(openMemory, markedShape, { slots, bits: 16, breath: { take: () => nextTurn() } });
  return new PagePool({ memory, slots, clock, onChange });
}

/** A number that distinguishes sets of adapters and scales; 0 without adapters. */
export function signatureOf(adapters: readonly AppliedAdapter[]): number {
  const terms = adapters.map((adapter) => termOf(markOf(adapter), adapter.scale));
  return [...new Set(terms)].reduce((sum, term) => sum + term, 0);
}

const termOf = (mark: number, scale: number) => mark * (64 + scale);

/** The signature that a row reads; NaN where its pages are not its whole adapter with an end behind its ranks. */
export function readSignature(row: RowAdapter | null, pool: PagePool<HostPages>): number {
  if (row === null) return 0;
  const terms = new Set<number>();
  for (const { linear, layers, in: inputs, outs } of joinedSizes(markedShape)) {
    const resident = row.adapter.linears.get(linear);
    const range = row.placement.ranges.get(linear);
    for (const [part, { ranks, a, b }] of (resident?.parts ?? []).entries()) {
      const out = outs[part]!;
      for (let layer = 0; layer < layers; layer++) {
        const pools = pool.memory.of(linear, part, layer);
        for (let rank = 0; rank < range!.pages * pageRanks; rank++) {
          const from = layer * ranks + rank;
          const page = range!.first + Math.floor(rank / pageRanks);
          const ofA = rankOf(dataOf(pools.a), page, rank % pageRanks, inputs, pageBlocks.a);
          const ofB = rankOf(dataOf(pools.b), page, rank % pageRanks, out, pageBlocks.b);
          const found = ofA[0]!;
          const isThere = rank < ranks && b[from * out] !== 0;
          if (!isThere) {
            if (!Number.isNaN(found)) return Number.NaN;
            // The next page may belong to another adapter of a combined one.
            rank += pageRanks - 1 - (rank % pageRanks);
            continue;
          }
          const isWhole =
            holds(ofA, a.subarray(from * inputs, (from + 1) * inputs)) &&
            holds(ofB, b.subarray(from * out, (from + 1) * out));
          if (!isWhole) return Number.NaN;
          const share = row.scale * resident!.shares[Math.floor(rank / pageRanks)]!;
          terms.add(termOf(found, (share * b[from * out]!) / found));
        }
      }
    }
  }
  return [...terms].reduce((sum, term) => sum + term, 0);
}

/** Values of one rank of a page, which lie in blocks. */
function rankOf(pool: Float16Array, page: number, rank: number, width: number, block: number): number[] {
  const first = page * pageElements(width, block, 16) + rank * block;
  const at = (i: number) => first + Math.floor(i / block) * pageRanks * block + (i % block);
  return Array.from({ length: width }, (_, i) => pool[at(i)]!);
}

const holds = (found: readonly number[], matrix: Float16Array) => matrix.every((value, i) => value === found[i]);
