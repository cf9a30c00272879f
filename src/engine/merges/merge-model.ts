// A base model with an adapter merged in: W + scale · B A in the linears that the adapter changes, and the base's own
// objects for all else, by which whoever holds both shares their memory.

import { embeddingView } from '../../graph/decoder.ts';
import type { LinearBits, LinearForm, LoweredModel, LoweredTensor } from '../../graph/lowered.ts';
import { blockSize } from '../../graph/quantized.ts';
import type { Runtime } from '../../runtime/session.ts';
import type { Breath } from '../adapters/breath.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { mergedBits, mergeLinear } from './merge-linear.ts';
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
  let done = 0;
  try {
    for (const target of targets) {
      const { name, form } = target;
      if (name === 'head') keepEmbedding(base, weights);
      const merged = await mergeLinear({ base, rows, breath }, target, mergedBits(form, bits));
      for (const part of ['blocks', 'scales', 'minimums', 'matrix']) weights.delete(`${name}.${part}`);
      for (const [part, tensor] of merged.tensors) weights.set(`${name}.${part}`, tensor);
      linears.set(name, merged.form);
      done += form.n * form.k;
      onProgress(done / work);
    }
  } finally {
    rows.release();
  }
  return { shape: base.shape, linears, weights };
}

/** A tied head's blocks are the embedding too. Merged, they are the head alone: the embedding stays the base's. */
function keepEmbedding(base: LoweredModel, weights: Map<string, LoweredTensor>): void {
  if (weights.has('embedding')) return;
  const { n, k } = base.linears.get('head')!;
  weights.set(embeddingView.blocks, { ...base.weights.get('head.blocks')!, shape: [n, k] });
  weights.set(embeddingView.scales, { ...base.weights.get('head.scales')!, shape: [n, k / blockSize] });
}

/** Bytes of the weights that `mergeModel` would make, without their packed forms. */
export function mergedBytes(base: LoweredModel, adapter: ResidentAdapter, bits: LinearBits | null): number {
  return mergeTargets(base, adapter).reduce((sum, { form }) => sum + linearBytes(form, mergedBits(form, bits)), 0);
}

function linearBytes({ n, k, corrected }: LinearForm, bits: LinearBits): number {
  const floatsOfBlock = bits === 32 ? 0 : corrected ? 2 : 1;
  return (n * k * bits) / 8 + ((n * k) / blockSize) * floatsOfBlock * 4;
}
