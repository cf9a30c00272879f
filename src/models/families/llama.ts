// Llama 1 to 3 and Mistral.

import { type Family, llamaLike } from './family.ts';
import { everywhere, refuseGgufWindow, refuseWindow, widthOf, windowOf } from './windows.ts';

/** Llama, and Mistral, which is one with a window. */
export const llama: Family = {
  ...llamaLike,
  modelTypes: { llama: {}, mistral: { sliding_window: 4096 } },
  classes: ['LlamaForCausalLM', 'MistralForCausalLM'],
  gguf: 'llama',
  fromConfig(config, shape) {
    if (config.text('model_type') !== 'mistral') {
      refuseWindow(config, shape);
      return {};
    }
    return everywhere(windowOf(config, 'sliding_window', shape), shape);
  },
  fromGguf(metadata, shape) {
    refuseGgufWindow(metadata, shape);
    return {};
  },
  toConfig({ attention }) {
    const window = widthOf(attention);
    if (window === null) return {};
    return { model_type: 'mistral', architectures: ['MistralForCausalLM'], sliding_window: window };
  },
};
