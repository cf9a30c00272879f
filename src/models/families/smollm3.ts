// SmolLM3.

import { limits } from '../../core/limits.ts';
import { type Fields, unsupported } from '../fields.ts';
import { type Family, llamaLike, type PlainShape } from './family.ts';
import { attentionOf, chosenWindow, chosenWindowConfig, refuseGgufWindow, slidingLayers } from './windows.ts';

/** Layers without rotary positions by default; llama.cpp knows only this pattern. */
const everyFourth = (layer: number) => (layer + 1) % 4 === 0;

/** A Llama in which some layers, every fourth by default, have no rotary positions. */
export const smollm3: Family = {
  ...llamaLike,
  modelTypes: { smollm3: { rope_theta: 2_000_000 } },
  classes: ['SmolLM3ForCausalLM'],
  gguf: 'smollm3',
  fromConfig(config, shape) {
    const turns = turningLayers(config, shape);
    const window = chosenWindow(config, shape);
    const slides = slidingLayers(config, shape, (layer) => !turns[layer]);
    return attentionOf(
      turns.map((isTurned, layer) => ({ window: slides[layer] ? window : null, rope: isTurned ? 'global' : null })),
    );
  },
  fromGguf(metadata, shape) {
    refuseGgufWindow(metadata, shape);
    const layers = Array.from({ length: shape.layers }, (_, layer) => layer);
    return attentionOf(layers.map((layer) => ({ window: null, rope: everyFourth(layer) ? null : 'global' })));
  },
  toConfig: (shape) => ({
    no_rope_layers: Array.from({ length: shape.layers }, (_, layer) =>
      shape.attention?.[layer]?.rope === null ? 0 : 1,
    ),
    ...chosenWindowConfig(shape),
  }),
};

function turningLayers(config: Fields, { layers }: PlainShape): boolean[] {
  const list = config.get('no_rope_layers');
  if (list === undefined) {
    const interval = config.count('no_rope_layer_interval', limits.modelLayers, 4);
    return Array.from({ length: layers }, (_, layer) => (layer + 1) % interval !== 0);
  }
  const isFlag = (item: unknown) => item === 0 || item === 1;
  if (!Array.isArray(list) || list.length < layers || !list.every(isFlag)) {
    unsupported('no_rope_layers other than 0 or 1 for each layer');
  }
  // In spite of the key's name, 1 marks a layer that has rotary positions.
  return list.slice(0, layers).map((item) => item === 1);
}
