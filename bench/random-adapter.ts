// A random adapter in memory, without files: for measuring what its size costs.

import type { TargetModule } from '../src/core/adapter.ts';
import type { ModelShape } from '../src/core/base-model.ts';
import { prng } from '../src/core/prng.ts';
import {
  createPart,
  createResident,
  joinedSizes,
  pageRanks,
  pagesOf,
  type ResidentAdapter,
} from '../src/engine/adapters/resident-adapter.ts';

/** Small enough to leave the activations in their usual range. */
const amplitude = 0.02;

export function randomAdapter(
  shape: ModelShape,
  { seed, r, modules }: { readonly seed: number; readonly r: number; readonly modules: readonly TargetModule[] },
): ResidentAdapter {
  const random = prng(seed);
  const touched = joinedSizes(shape).filter((sizes) => sizes.modules.some((module) => modules.includes(module)));
  const linears = touched.map((sizes) => {
    const ranks = Math.ceil(r / pageRanks) * pageRanks;
    const parts = sizes.modules.map((module, i) => {
      const part = createPart(sizes, i, modules.includes(module) ? ranks : 0);
      for (const matrix of [part.a, part.b])
        for (let j = 0; j < matrix.length; j++) matrix[j] = (random() - 0.5) * amplitude;
      return part;
    });
    return [sizes.linear, { parts, pages: pagesOf(parts), gains: null }] as const;
  });
  return createResident(`random ${seed} ${r} ${modules}`, new Map(linears));
}
