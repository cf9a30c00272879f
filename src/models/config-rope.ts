// Reads rotary positions from config.json.

import type { RopeScaling } from '../core/base-model.ts';
import { limits } from '../core/limits.ts';
import { type Fields, fields, own, show, unsupported } from './fields.ts';

/**
 * Finds the rotary parameters. transformers 5 writes rope_parameters, with the theta inside, and one set for each kind
 * of layer where they differ; earlier versions write rope_scaling beside rope_theta.
 */
export function ropeFields(config: Fields): Fields {
  const rope = config.get('rope_parameters') ?? config.get('rope_scaling') ?? {};
  const source = "config.json's rope parameters";
  const all = fields(source, own(rope));
  const ofFull = all.get('full_attention');
  return ofFull === undefined ? all : fields(source, own(ofFull));
}

/** Reads the scaling rule. Throws `model_unsupported` for an unknown one. */
export function ropeScaling(rope: Fields, config: Fields): RopeScaling | null {
  const kind = (rope.get('rope_type') ?? rope.get('type') ?? 'default') as RopeScaling['kind'] | 'default' | 'su';
  switch (kind) {
    case 'default':
      return null;
    case 'linear':
      return { kind, factor: rope.positive('factor') };
    case 'llama3':
      return {
        kind,
        factor: rope.positive('factor'),
        lowFreqFactor: rope.positive('low_freq_factor'),
        highFreqFactor: rope.positive('high_freq_factor'),
        originalContext: originalContext(rope, config),
      };
    case 'yarn':
      return yarn(rope, config);
    case 'longrope':
    case 'su':
      return longrope(rope, config);
    default:
      return unsupported(`rope scaling ${show(kind)}; "linear", "llama3", "yarn" and "longrope" are`);
  }
}

/**
 * Reads the original context. As in transformers, a key of the config itself overrides one of its rotary parameters.
 */
function originalContext(rope: Fields, config: Fields): number {
  const key = 'original_max_position_embeddings';
  if (config.get(key) !== undefined) return config.count(key, limits.modelContext);
  return rope.count(key, limits.modelContext, Number(config.get('max_position_embeddings')));
}

function yarn(rope: Fields, config: Fields): RopeScaling {
  const factor = rope.positive('factor');
  const scale = (mscale: number) => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  const [some, all] = [rope.get('mscale'), rope.get('mscale_all_dim')];
  const isRatio = Boolean(some) && Boolean(all);
  const usual = isRatio ? scale(rope.positive('mscale')) / scale(rope.positive('mscale_all_dim')) : scale(1);
  return {
    kind: 'yarn',
    factor,
    originalContext: originalContext(rope, config),
    betaFast: rope.positive('beta_fast', 32),
    betaSlow: rope.positive('beta_slow', 1),
    attentionFactor: rope.positive('attention_factor', usual),
    truncate: rope.get('truncate') !== false,
  };
}

function longrope(rope: Fields, config: Fields): RopeScaling {
  const original = originalContext(rope, config);
  const context = config.count('max_position_embeddings', limits.modelContext);
  const stretch = config.get('original_max_position_embeddings') === undefined ? rope.get('factor') : undefined;
  const factor = stretch === undefined ? context / original : rope.positive('factor');
  const usual = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  return {
    kind: 'longrope',
    originalContext: original,
    shortFactors: factors(rope, 'short_factor'),
    longFactors: factors(rope, 'long_factor'),
    attentionFactor: rope.positive('attention_factor', usual),
  };
}

function factors(rope: Fields, key: string): number[] {
  const list = rope.get(key);
  const isDivisor = (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value > 0;
  if (Array.isArray(list) && list.length <= limits.modelHeadDim && list.every(isDivisor)) return list as number[];
  return unsupported(`${key} other than a list of positive numbers`);
}
