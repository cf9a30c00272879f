// A base model with an adapter merged in: W + scale · B A in the linears that the adapter changes, and the base's own
// objects for all else, by which whoever holds both shares their memory.

import {
  isFloats,
  type LinearBits,
  type LinearForm,
  type LoweredModel,
  type LoweredTensor,
} from '../../graph/lowered.ts';
import { type PackedForm, packedBytes, packedFloatBytes } from '../../graph/packed.ts';
import { weightMemory } from '../../graph/weight-memory.ts';
import type { Runtime } from '../../runtime/session.ts';
import type { Breath } from '../adapters/breath.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { mergedBits, mergedForm, mergeLinear } from './merge-linear.ts';
import { mergeTargets } from './merge-targets.ts';
import { createMergedRows } from './merged-rows.ts';

export type MergeOptions = {
  /** Multiplies what the adapter adds; 1 for one with DoRA, whose norms hold for 1 alone. */
  readonly scale: number;
  /** Of the merged linears; null keeps each one's own form, and so the base's speed. */
  readonly bits: LinearBits | null;
  readonly breath: Breath;
  /** Share of the work that is done, 0..1. */
  onProgress?(share: number): void;
};

/**
 * A lowered model whose untouched weights are `base`'s own tensors; `base` itself stays as it is. What `onProgress`
 * throws ends the merge.
 */
export async function mergeModel(
  runtime: Runtime,
  base: LoweredModel,
  adapter: ResidentAdapter,
  { scale, bits, breath, onProgress = () => {} }: MergeOptions,
): Promise<LoweredModel> {
  const linears = new Map(base.linears);
  const weights = new Map(base.weights);
  const targets = mergeTargets(base, adapter);
  const work = targets.reduce((sum, { form }) => sum + form.n * form.k, 0);
  const rows = await createMergedRows(runtime, base, scale, breath);
  const memory = weightMemory();
  let done = 0;
  try {
    for (const target of targets) {
      const { name, form } = target;
      if (name === 'head') keepEmbedding(base, weights);
      const merged = await mergeLinear({ base, rows, memory, breath }, target, mergedBits(form, bits));
      weights.set(`${name}.packed`, merged.packed);
      linears.set(name, merged.form);
      done += form.n * form.k;
      onProgress(done / work);
    }
  } finally {
    rows.release();
  }
  return { shape: base.shape, linears, weights };
}

/** A tied head's rows are the embedding too. Merged, they are the head alone: the embedding stays the base's. */
function keepEmbedding(base: LoweredModel, weights: Map<string, LoweredTensor>): void {
  if (!weights.has('embedding')) weights.set('embedding.packed', base.weights.get('head.packed')!);
}

/** Bytes of the weights that `mergeModel` would make. */
export function mergedBytes(base: LoweredModel, adapter: ResidentAdapter, bits: LinearBits | null): number {
  return mergeTargets(base, adapter).reduce(
    (sum, { form }) => sum + linearBytes(mergedForm(form, mergedBits(form, bits))),
    0,
  );
}

const linearBytes = (form: LinearForm): number =>
  isFloats(form.bits) ? packedFloatBytes(form.bits, form.n, form.k) : packedBytes(form as PackedForm);
