// Makes a merge, from files to a model that can serve: reads the adapters, checks the budget, computes, makes the
// graphs, compares. Runs beside the step loop; a merge that is no longer wanted stops at its next breath. Holds nothing
// after an error.

import { LorikeetError } from '../../core/errors.ts';
import { loweredName } from '../../graph/adapted-linear.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import type { MergeQuality, MergeRequest, WeightBits } from '../../protocol/messages.ts';
import type { AdapterStore } from '../adapters/adapter-store.ts';
import type { Breath } from '../adapters/breath.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { scaleOf } from '../adapters/scale-of.ts';
import type { Decoder } from '../runner/decoder.ts';
import type { MergedModel } from '../runner/merged-model.ts';
import { measureQuality } from './measure-quality.ts';

/** The arithmetic of merging, separate so that tests can replace it. */
export type MergeArithmetic = {
  /** Bytes that the merge takes beside the base. */
  bytesOf(adapter: ResidentAdapter, bits: WeightBits | null): number;
  merge(
    adapter: ResidentAdapter,
    options: { scale: number; bits: WeightBits | null; breath: Breath; onProgress(share: number): void },
  ): Promise<LoweredModel>;
};

export type MergeMaker = {
  readonly decoder: Decoder;
  readonly adapters: AdapterStore;
  readonly arithmetic: MergeArithmetic;
  readonly breath: Breath;
};

export type MadeMerge = {
  readonly model: MergedModel;
  readonly bits: WeightBits;
  readonly bytes: number;
  readonly quality: MergeQuality | null;
};

export type MergeLife = {
  /** Bytes of the merge budget that are left. */
  readonly bytesLeft: number;
  readonly isWanted: () => boolean;
  /** Called with the share of the work that is done, rising from 0 to 1. */
  onProgress(share: number): void;
};

/** Thrown where the merge is not wanted any more. */
export class MergeUnwanted extends Error {}

/** Shares of the work: up to `computed` the arithmetic, up to `made` the graphs, then the comparison. */
const computed = 0.6;
const made = 0.9;

export async function makeMerge(maker: MergeMaker, request: MergeRequest, life: MergeLife): Promise<MadeMerge> {
  const { decoder, adapters, arithmetic } = maker;
  const check = () => {
    if (!life.isWanted()) throw new MergeUnwanted();
  };
  const breath: Breath = {
    async take() {
      await maker.breath.take();
      check();
    },
  };
  const hold = adapters.hold(request.adapters);
  try {
    await hold.settled;
    check();
    const { adapter } = hold;
    if (adapter === null) throw hold.error;
    const scale = scaleOf(request.adapters, adapter);
    const bytes = arithmetic.bytesOf(adapter, request.bits);
    if (bytes > life.bytesLeft) throw tooMuch(bytes, life.bytesLeft);
    const lowered = await arithmetic.merge(adapter, {
      ...{ scale, bits: request.bits, breath },
      onProgress: (share) => life.onProgress(computed * share),
    });
    check();
    const embedding = adapter.embedding.map((own) => ({ ...own, scale: own.scale * scale }));
    const model = await decoder.addMerged(lowered, embedding);
    try {
      check();
      life.onProgress(made);
      const quality = await measureQuality(
        { decoder, breath, probes: request.probes },
        { adapter, scale },
        model,
        (share) => life.onProgress(made + (1 - made) * share),
      );
      return { model, bits: request.bits ?? ownBits(lowered, adapter), bytes, quality };
    } catch (error) {
      await decoder.removeMerged(model);
      throw error;
    }
  } finally {
    hold.release();
  }
}

/** Bits of the first linear that the adapter touches; the others have the same, except a head. */
function ownBits({ linears }: LoweredModel, adapter: ResidentAdapter): WeightBits {
  const [linear = 'qkv'] = adapter.linears.keys();
  return linears.get(loweredName(0, linear))!.bits;
}

const tooMuch = (bytes: number, left: number) =>
  new LorikeetError('merge_budget_exceeded', {
    message: `The merge takes ${bytes} bytes; LORIKEET_MERGE_MEMORY leaves ${Math.max(0, left)}.`,
  });
