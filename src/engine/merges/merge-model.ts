// A base model with an adapter merged in: W + scale · B A in the linears that the adapter changes, and the base's own
// tensor objects elsewhere, so that both models share their memory.

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
  /** Multiplies what the adapter adds; must be 1 for an adapter with DoRA, whose norms hold for 1 alone. */
  readonly scale: number;
  /** Bits of the merged linears; null keeps each one's own form, and so the base's speed. */
  readonly bits: LinearBits | null;
  readonly breath: Breath;
  /** Called with the share of the work that is done, 0..1. */
  onProgress?(share: number): void;
};

/**
 * A lowered model whose untouched weights are `base`'s own tensors; `base` is not changed. An error that `onProgress`
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

/** Keeps the base's embedding where the head is tied: the merged rows are the head alone. */
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
