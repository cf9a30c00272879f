// The definition of a merge, W + scale · scaling · B A in floats over the lowered base's own values, and small models
// of every form to merge into. Knows none of the merge's arithmetic.

import { linearSize } from '../../../src/core/adapter.ts';
import type { BaseModel, ModelShape } from '../../../src/core/base-model.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { prng } from '../../../src/core/prng.ts';
import { createBreath } from '../../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import type { ResidentAdapter } from '../../../src/engine/adapters/resident-adapter.ts';
import { type JoinedLinear, joinedLinears, loweredName } from '../../../src/graph/adapted-linear.ts';
import type { LoweredModel } from '../../../src/graph/lowered.ts';
import { tensorSpecs } from '../../../src/models/tensor-specs.ts';
import { linearValues } from '../../graph/linear-values.ts';
import { mergePair, type RandomAdapter, type ScaledAdapter } from '../adapters/random-adapters.ts';

export const breath = createBreath(systemClock);

export const resident = (model: LoweredModel, { files }: RandomAdapter): Promise<ResidentAdapter> =>
  readAdapter(files, { model, breath });

/** Weights [n, k] of every linear, by its lowered name. */
export function densely(model: LoweredModel, scaled: readonly ScaledAdapter[]): Map<string, Float32Array> {
  const all = new Map([...model.linears.keys()].map((name) => [name, linearValues(model, name)]));
  for (const { adapter, scale } of scaled) {
    for (const pair of adapter.pairs) {
      const { layer, module } = pair;
      const [linear, modules] = Object.entries(joinedLinears).find(([, modules]) =>
        (modules as readonly string[]).includes(module),
      ) as [JoinedLinear, readonly (typeof module)[]];
      const sizes = modules.map((one) => linearSize(model.shape, one));
      const part = modules.indexOf(module);
      const first = sizes.slice(0, part).reduce((sum, { out }) => sum + out, 0);
      const { in: inputs, out } = sizes[part]!;
      const values = all.get(loweredName(layer ?? 0, linear))!;
      mergePair(values.subarray(first * inputs, (first + out) * inputs), pair, scale);
    }
  }
  return all;
}

/** Random floats for a shape whose widths are not multiples of 32. */
export function oddModel(): BaseModel {
  const shape: ModelShape = {
    ...{ architecture: 'llama', layers: 2, hidden: 40, intermediate: 72, heads: 5, kvHeads: 1, headDim: 8 },
    ...{ vocabulary: 50, context: 64, ropeTheta: 10_000, ropeScaling: null, rmsNormEps: 1e-5, tiedEmbedding: false },
  };
  const random = prng(3);
  const tensors = tensorSpecs(shape).map(({ name, shape }) => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random() - 0.5);
    return [name, { name, type: 'F32' as const, shape, bytes: () => new Uint8Array(values.buffer) }] as const;
  });
  return { shape, tensors: new Map(tensors) };
}
