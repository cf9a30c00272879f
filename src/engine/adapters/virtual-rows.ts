// Virtual tokens in memory: what an adapter without pairs puts before a text. Embeddings are as the residual stream has
// them; keys and values are as attention stores them. Kept as float32: what they are written to rounds them.

import { modelPlan } from '../../core/layer-plan.ts';
import { pairValues } from '../../formats/adapter-values.ts';
import { rowsOf } from '../../formats/peft-adapter.ts';
import type { PeftVirtualTokens, VirtualTokensKind } from '../../formats/peft-virtual-tokens.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import type { Breath } from './breath.ts';

export type VirtualRows = {
  readonly kind: VirtualTokensKind;
  readonly count: number;
  /** Numbers for one token. */
  readonly width: number;
  /** [count, width] */
  readonly values: Float32Array<ArrayBuffer>;
};

/** @param weights the adapter's file of weights */
export async function readVirtualRows(
  { kind, count, width, tensor }: PeftVirtualTokens,
  weights: Uint8Array,
  { model, breath }: { readonly model: LoweredModel; readonly breath: Breath },
): Promise<VirtualRows> {
  const scale = kind === 'embeddings' ? modelPlan(model.shape).givenScale : 1;
  const values = new Float32Array(count * width);
  for (let first = 0; first < count; first++) {
    const row = rowsOf(tensor, { first, count: 1 });
    const floats = pairValues(row, weights.subarray(row.offset, row.offset + row.bytes));
    for (let i = 0; i < width; i++) values[first * width + i] = scale * floats[i]!;
    await breath.take();
  }
  return { kind, count, width, values };
}
