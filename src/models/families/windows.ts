// Reads sliding windows from config.json and GGUF metadata.

import type { LayerAttention, ModelShape, ModelTraits } from '../../core/base-model.ts';
import { limits } from '../../core/limits.ts';
import { type Fields, unsupported } from '../fields.ts';
import type { PlainShape } from './family.ts';

/** Reads a window in tokens; null where it is at least the longest context, since it then hides nothing. */
export function windowOf(fields: Fields, key: string, { context }: PlainShape): number | null {
  if (fields.get(key) === undefined) return null;
  const window = fields.count(key, limits.modelContext);
  return window < context ? window : null;
}

/** Reads the window of families where it counts only with use_sliding_window. */
export const chosenWindow = (config: Fields, shape: PlainShape): number | null =>
  config.get('use_sliding_window') === true ? windowOf(config, 'sliding_window', shape) : null;

/** Writes such a window to a config: the inverse of `chosenWindow`. */
export function chosenWindowConfig({ attention, layers }: Pick<ModelShape, 'attention' | 'layers'>) {
  const window = widthOf(attention);
  if (window === null) return {};
  return { use_sliding_window: true, sliding_window: window, layer_types: layerTypes(attention, layers) };
}

/**
 * Tells which layers have the window: by layer_types where the config lists them, otherwise by the family's own rule.
 */
export function slidingLayers(config: Fields, { layers }: PlainShape, rule: (layer: number) => boolean): boolean[] {
  const types = config.get('layer_types');
  if (types === undefined) return Array.from({ length: layers }, (_, layer) => rule(layer));
  const isKnown = (type: unknown) => type === 'sliding_attention' || type === 'full_attention';
  if (!Array.isArray(types) || types.length !== layers || !types.every(isKnown)) {
    unsupported('layer_types other than sliding_attention or full_attention for each layer');
  }
  return types.map((type) => type === 'sliding_attention');
}

/** Makes the trait; empty where all layers are like a Llama's. */
export function attentionOf(layers: readonly LayerAttention[]): ModelTraits {
  return layers.some(({ window, rope }) => window !== null || rope !== 'global') ? { attention: layers } : {};
}

/** Makes the trait with the same window in every layer. */
export const everywhere = (window: number | null, { layers }: PlainShape): ModelTraits =>
  attentionOf(Array.from({ length: layers }, () => ({ window, rope: 'global' })));

/** Refuses a window in families whose models have none. */
export function refuseWindow(config: Fields, shape: PlainShape): void {
  if (config.get('use_sliding_window') === true) unsupported('use_sliding_window is true in its config.json');
  // Some configs state a window that their models do not use.
  if (config.get('use_sliding_window') === undefined && windowOf(config, 'sliding_window', shape) !== null) {
    unsupported('sliding-window attention');
  }
}

export function refuseGgufWindow(metadata: Fields, shape: PlainShape): void {
  const window = metadata.get('attention.sliding_window');
  if (typeof window === 'number' && window > 0 && window < shape.context) unsupported('sliding-window attention');
}

/** Finds the width of the windows, which all have the same; null where there is none. */
export const widthOf = (attention: readonly LayerAttention[] | undefined): number | null =>
  attention?.find(({ window }) => window !== null)?.window ?? null;

export const layerTypes = (attention: readonly LayerAttention[] | undefined, layers: number): string[] =>
  Array.from({ length: layers }, (_, layer) =>
    (attention?.[layer]?.window ?? null) === null ? 'full_attention' : 'sliding_attention',
  );
