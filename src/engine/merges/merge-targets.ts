// The linears of a lowered model that an adapter changes, and the parts of each. Knows no arithmetic.

import { type JoinedLinear, loweredName } from '../../graph/adapted-linear.ts';
import type { LinearForm, LoweredModel } from '../../graph/lowered.ts';
import {
  firstOutput,
  type JoinedSizes,
  joinedSizes,
  layerOf,
  type ResidentAdapter,
} from '../adapters/resident-adapter.ts';

/** Rows `first` to `first + out` of a linear, which become gain · W + B A. */
export type MergePart = {
  readonly first: number;
  readonly out: number;
  readonly ranks: number;
  /** A [ranks, k] and B [ranks, out] as floats, made anew by each call. */
  matrices(): { readonly a: Float32Array<ArrayBuffer>; readonly b: Float32Array<ArrayBuffer> };
  /** Gains [out]; null stands for 1 everywhere. */
  readonly gains: Float32Array | null;
};

export type MergeTarget = {
  readonly name: string;
  readonly linear: JoinedLinear;
  /** The base's form of the linear. */
  readonly form: LinearForm;
  /** The parts that the adapter changes in this layer, at least one, in the order of rows. */
  readonly parts: readonly MergePart[];
};

/** Targets in the model's order. A layer that an adapter leaves alone (`layers_to_transform`) is no target. */
export function mergeTargets({ shape, linears }: LoweredModel, adapter: ResidentAdapter): MergeTarget[] {
  return joinedSizes(shape).flatMap((sizes) => {
    const layers = Array.from({ length: sizes.layers }, (_, layer) => layer);
    return layers.flatMap((layer): MergeTarget[] => {
      const name = loweredName(layer, sizes.linear);
      const parts = mergeParts(sizes, layer, adapter);
      return parts.length === 0 ? [] : [{ name, linear: sizes.linear, form: linears.get(name)!, parts }];
    });
  });
}

function mergeParts(sizes: JoinedSizes, layer: number, adapter: ResidentAdapter): MergePart[] {
  const linear = adapter.linears.get(sizes.linear);
  if (!linear) return [];
  return linear.parts.flatMap(({ ranks, b }, part) => {
    const first = firstOutput(sizes, part);
    const out = sizes.outs[part]!;
    const own = linear.gains?.subarray(layer * sizes.out + first, layer * sizes.out + first + out);
    const gains = own?.some((gain) => gain !== 1) ? own : null;
    const ofB = b.subarray(layer * ranks * out, (layer + 1) * ranks * out);
    const isLeftAlone = gains === null && ofB.every((value) => value === 0);
    const matrices = () => layerOf(linear, part, layer, sizes);
    return isLeftAlone ? [] : [{ first, out, ranks, matrices, gains }];
  });
}
