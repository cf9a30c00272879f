// Qwen 2 and 3, the dense models.

import { limits } from '../../core/limits.ts';
import { type Family, llamaLike } from './family.ts';
import { attentionOf, chosenWindow, chosenWindowConfig, refuseGgufWindow, slidingLayers } from './windows.ts';

/** Common to Qwen 2 and 3: a window from some layer on, only where use_sliding_window says so. */
const qwen = {
  ...llamaLike,
  fromConfig(config, shape) {
    const window = chosenWindow(config, shape);
    if (window === null) return {};
    const first = config.get('max_window_layers') === 0 ? 0 : config.count('max_window_layers', limits.modelLayers);
    const slides = slidingLayers(config, shape, (layer) => layer >= first);
    return attentionOf(slides.map((isNarrow) => ({ window: isNarrow ? window : null, rope: 'global' })));
  },
  fromGguf(metadata, shape) {
    refuseGgufWindow(metadata, shape);
    return {};
  },
  toConfig: chosenWindowConfig,
} as const satisfies Partial<Family>;

export const qwen2: Family = {
  ...qwen,
  modelTypes: { qwen2: { sliding_window: 4096, max_window_layers: 28 } },
  classes: ['Qwen2ForCausalLM'],
  gguf: 'qwen2',
  qkvBias: true,
};

export const qwen3: Family = {
  ...qwen,
  modelTypes: { qwen3: { head_dim: 128, sliding_window: 4096, max_window_layers: 28 } },
  classes: ['Qwen3ForCausalLM'],
  gguf: 'qwen3',
  qkNorm: true,
};
