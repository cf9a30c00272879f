// Phi-3 and Phi-4, which fuse linears that read the same input.

import type { ModelTraits } from '../../core/base-model.ts';
import { limits } from '../../core/limits.ts';
import { unsupported } from '../fields.ts';
import { type Family, llamaLike, type PlainShape } from './family.ts';
import { everywhere, widthOf, windowOf } from './windows.ts';

/**
 * Phi-3 and Phi-4: q, k and v are one tensor and module, gate and up another; rotary positions turn a part of each
 * head.
 */
export const phi3: Family = {
  ...llamaLike,
  modelTypes: { phi3: {} },
  classes: ['Phi3ForCausalLM'],
  gguf: 'phi3',
  traits: { fusedRows: true },
  fromConfig(config, shape) {
    const rope = (config.get('rope_parameters') ?? {}) as { partial_rotary_factor?: unknown };
    const factor = Number(rope.partial_rotary_factor ?? config.get('partial_rotary_factor') ?? 1);
    return {
      ...ropeDims(Math.trunc(shape.headDim * factor), shape),
      ...everywhere(windowOf(config, 'sliding_window', shape), shape),
    };
  },
  fromGguf(metadata, shape) {
    return {
      ...ropeDims(metadata.count('rope.dimension_count', limits.modelHeadDim, shape.headDim), shape),
      // The converter writes 0 for none.
      ...everywhere(
        metadata.get('attention.sliding_window') === 0 ? null : windowOf(metadata, 'attention.sliding_window', shape),
        shape,
      ),
    };
  },
  toConfig: ({ ropeDims, headDim, attention }) => ({
    partial_rotary_factor: (ropeDims ?? headDim) / headDim,
    sliding_window: widthOf(attention),
  }),
};

function ropeDims(dims: number, { headDim }: PlainShape): ModelTraits {
  if (!(dims >= 2 && dims <= headDim && dims % 2 === 0))
    unsupported(`rotary positions on ${dims} of ${headDim} dimensions`);
  return dims === headDim ? {} : { ropeDims: dims };
}
