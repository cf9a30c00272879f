// A random adapter in memory, without files, for measuring what its size costs.

import type { TargetModule } from '../src/core/adapter.ts';
import type { ModelShape } from '../src/core/base-model.ts';
import { prng } from '../src/core/prng.ts';
import {
  createLinear,
  createPart,
  createResident,
  joinedSizes,
  type ResidentAdapter,
} from '../src/engine/adapters/resident-adapter.ts';

/** Values small enough to leave the activations in their usual range. */
const amplitude = 0.02;

export function randomAdapter(
  shape: ModelShape,
  { seed, r, modules }: { readonly seed: number; readonly r: number; readonly modules: readonly TargetModule[] },
): ResidentAdapter {
  const random = prng(seed);
  const touched = joinedSizes(shape).filter((sizes) => sizes.modules.some((module) => modules.includes(module)));
  const linears = touched.map((sizes) => {
    const parts = sizes.modules.map((module, i) => {
      const part = createPart(sizes, i, modules.includes(module) ? r : 0);
      for (const matrix of [part.a, part.b]) {
        for (let j = 0; j < matrix.length; j++) matrix[j] = (random() - 0.5) * amplitude;
      }
      return part;
    });
    return [sizes.linear, createLinear(parts, 1, null)] as const;
  });
  return createResident(`random ${seed} ${r} ${modules}`, new Map(linears));
}
