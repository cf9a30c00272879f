// Merges for a decoder without arithmetic: a merged model consists of the signature of its adapters.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { LorikeetError } from '../../../src/core/errors.ts';
import { pageRanks } from '../../../src/core/page-sizes.ts';
import type { ResidentAdapter } from '../../../src/engine/adapters/resident-adapter.ts';
import { joinedSizes } from '../../../src/engine/adapters/resident-adapter.ts';
import type { MergeArithmetic } from '../../../src/engine/merges/make-merge.ts';
import type { LoweredModel } from '../../../src/graph/lowered.ts';
import { markedShape } from '../adapters/marked-adapters.ts';

type MarkedModel = LoweredModel & { readonly signature: number };

/**
 * Added to signatures of merged weights, since these differ from the base with an adapter beside it: no sequence may
 * change from one to the other.
 */
export const mergedMark = 0.25;

export const signatureOfMerged = (model: LoweredModel): number => (model as MarkedModel).signature;

/** Bytes of each merge. */
export const markedMergeBytes = 1000;

export type MarkedArithmeticOptions = {
  /** Number of pieces in which a merge is made. */
  readonly pieces?: () => number;
  /** Whether a merge fails, by its adapters' key. */
  readonly broken?: (key: string) => boolean;
};

export function markedArithmetic(options: MarkedArithmeticOptions = {}): MergeArithmetic {
  const { pieces = () => 3, broken = () => false } = options;
  return {
    bytesOf: () => markedMergeBytes,
    async merge(adapter, { scale, bits, breath, onProgress }) {
      const count = pieces();
      for (let piece = 0; piece < count; piece++) {
        await nextTurn();
        await breath.take();
        onProgress((piece + 1) / count);
      }
      if (broken(adapter.key)) throw new LorikeetError('adapter_unsupported', { message: 'It cannot be merged.' });
      const linears = new Map([
        ['layers.0.qkv', { bits: bits ?? 4, n: 1, k: 1, corrected: false, halves: false, bias: false } as const],
      ]);
      const names = [...adapter.linears.keys()].map((linear) => `layers.0.${linear}`);
      for (const name of names) linears.set(name, linears.get('layers.0.qkv')!);
      const model: MarkedModel = {
        shape: markedShape,
        linears,
        weights: new Map(),
        signature: signatureOf(adapter, scale) + mergedMark,
      };
      return model;
    },
  };
}

/** The signature that rows would read: every distinct mark and scale once. */
function signatureOf(adapter: ResidentAdapter, scale: number): number {
  const terms = new Set<number>();
  for (const { linear, in: inputs, outs } of joinedSizes(markedShape)) {
    const resident = adapter.linears.get(linear);
    for (const [part, { ranks, a, b }] of (resident?.parts ?? []).entries()) {
      for (let rank = 0; rank < ranks; rank++) {
        const mark = a[rank * inputs]!;
        const share = scale * resident!.shares[Math.floor(rank / pageRanks)]!;
        // A page holds zeros where it has no ranks.
        if (mark !== 0) terms.add(mark * (64 + (share * b[rank * outs[part]!]!) / mark));
      }
    }
  }
  return [...terms].reduce((sum, term) => sum + term, 0);
}
