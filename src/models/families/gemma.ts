// Gemma 2 and 3, only the text models: multimodal ones are refused by their model_type.

import type { ModelShape, ModelTraits } from '../../core/base-model.ts';
import { limits } from '../../core/limits.ts';
import { type Fields, unsupported } from '../fields.ts';
import { type Family, llamaLike, type PlainShape } from './family.ts';
import { attentionOf, layerTypes, slidingLayers, widthOf, windowOf } from './windows.ts';

/** Common to Gemma 2 and 3: norms around both halves of a layer, embeddings scaled by sqrt(hidden), GELU. */
const gemma = {
  ...llamaLike,
  activation: ['hidden_activation', 'gelu_pytorch_tanh'],
  traits: { activation: 'gelu', outputNorms: true, norms: 'around one', scaledTable: true },
} as const satisfies Partial<Family>;

const defaults = {
  ...{ head_dim: 256, query_pre_attn_scalar: 256, sliding_window: 4096 },
  hidden_activation: 'gelu_pytorch_tanh',
};

const scaleOf = (queryScalar: number, { headDim }: PlainShape): ModelTraits =>
  queryScalar === headDim ? {} : { attentionScale: queryScalar ** -0.5 };

/** The largest model of either family divides by hidden / heads, as llama.cpp does; its files do not say so. */
const ggufScale = (shape: PlainShape, layersOfLargest: number): ModelTraits =>
  scaleOf(shape.layers === layersOfLargest ? shape.hidden / shape.heads : shape.headDim, shape);

const embeddingScale = ({ hidden }: PlainShape) => ({ embeddingScale: hidden ** 0.5 });

const softcaps = (fields: Fields, attention: string, logits: string): ModelTraits => ({
  ...(fields.get(attention) === undefined ? {} : { attentionSoftcap: fields.positive(attention) }),
  ...(fields.get(logits) === undefined ? {} : { logitsSoftcap: fields.positive(logits) }),
});

function refuseBothWays(config: Fields): void {
  if (config.get('use_bidirectional_attention') === true) unsupported('use_bidirectional_attention');
}

const commonConfig = ({ attention, attentionScale, layers, headDim, context }: ModelShape) => ({
  query_pre_attn_scalar: attentionScale === undefined ? headDim : attentionScale ** -2,
  sliding_window: widthOf(attention) ?? context,
  layer_types: layerTypes(attention, layers),
});

/** Gemma 2: every other layer has a window; scores and logits are capped. */
export const gemma2: Family = {
  ...gemma,
  modelTypes: { gemma2: { ...defaults, attn_logit_softcapping: 50, final_logit_softcapping: 30 } },
  classes: ['Gemma2ForCausalLM'],
  gguf: 'gemma2',
  fromConfig(config, shape) {
    refuseBothWays(config);
    const window = windowOf(config, 'sliding_window', shape);
    const slides = slidingLayers(config, shape, (layer) => layer % 2 === 0);
    return {
      ...embeddingScale(shape),
      ...scaleOf(config.positive('query_pre_attn_scalar'), shape),
      ...softcaps(config, 'attn_logit_softcapping', 'final_logit_softcapping'),
      ...attentionOf(slides.map((isNarrow) => ({ window: isNarrow ? window : null, rope: 'global' }))),
    };
  },
  fromGguf(metadata, shape) {
    for (const key of ['attention.sliding_window_pattern', 'rope.freq_base_swa']) {
      if (metadata.get(key) !== undefined) unsupported(`${key} in its metadata`);
    }
    const window = windowOf(metadata, 'attention.sliding_window', shape);
    const layers = Array.from({ length: shape.layers }, (_, layer) => layer);
    return {
      ...embeddingScale(shape),
      ...ggufScale(shape, 46),
      ...softcaps(metadata, 'attn_logit_softcapping', 'final_logit_softcapping'),
      ...attentionOf(layers.map((layer) => ({ window: layer % 2 === 0 ? window : null, rope: 'global' }))),
    };
  },
  toConfig: (shape) => ({
    ...commonConfig(shape),
    attn_logit_softcapping: shape.attentionSoftcap ?? null,
    final_logit_softcapping: shape.logitsSoftcap ?? null,
  }),
};

/** Gemma 3: five of six layers have a window and a rotary table of their own; heads of q and k are normed. */
export const gemma3: Family = {
  ...gemma,
  modelTypes: { gemma3_text: { ...defaults, rope_theta: 1_000_000 } },
  classes: ['Gemma3ForCausalLM'],
  gguf: 'gemma3',
  qkNorm: true,
  fromConfig(config, shape) {
    refuseBothWays(config);
    const period = config.count('sliding_window_pattern', limits.modelLayers, 6);
    const slides = slidingLayers(config, shape, (layer) => (layer + 1) % period !== 0);
    return {
      ...softcaps(config, 'attn_logit_softcapping', 'final_logit_softcapping'),
      ...scaleOf(config.positive('query_pre_attn_scalar'), shape),
      ...twoTables(shape, slides, windowOf(config, 'sliding_window', shape), localTheta(config)),
    };
  },
  fromGguf(metadata, shape) {
    const period = metadata.count('attention.sliding_window_pattern', limits.modelLayers, 6);
    // Without a window no layer reads the second table.
    const isNarrow = Number(metadata.get('attention.sliding_window') ?? 0) > 0;
    const slides = Array.from({ length: shape.layers }, (_, layer) => isNarrow && (layer + 1) % period !== 0);
    const window = isNarrow ? windowOf(metadata, 'attention.sliding_window', shape) : null;
    return {
      ...ggufScale(shape, 62),
      ...softcaps(metadata, 'attn_logit_softcapping', 'final_logit_softcapping'),
      ...twoTables(shape, slides, window, metadata.positive('rope.freq_base_swa', 10_000)),
    };
  },
  toConfig: (shape) => ({
    ...commonConfig(shape),
    rope_local_base_freq: shape.localRopeTheta ?? 10_000,
    layer_types: Array.from({ length: shape.layers }, (_, layer) =>
      shape.attention?.[layer]?.rope === 'local' ? 'sliding_attention' : 'full_attention',
    ),
  }),
};

function twoTables(shape: PlainShape, slides: boolean[], window: number | null, theta: number): ModelTraits {
  const attention = attentionOf(
    slides.map((isNarrow) => ({ window: isNarrow ? window : null, rope: isNarrow ? 'local' : 'global' })),
  );
  return { ...embeddingScale(shape), ...attention, ...(slides.includes(true) ? { localRopeTheta: theta } : {}) };
}

/** Reads the theta of sliding layers. transformers 5 writes a set of rotary parameters for each kind of layer. */
function localTheta(config: Fields): number {
  const nested = config.get('rope_parameters') as { sliding_attention?: unknown } | undefined;
  const local = (nested?.sliding_attention ?? {}) as { rope_theta?: unknown; rope_type?: unknown };
  if ((local.rope_type ?? 'default') !== 'default') unsupported('scaled rotary positions of sliding layers');
  if (local.rope_theta === undefined) return config.positive('rope_local_base_freq', 10_000);
  if (typeof local.rope_theta === 'number' && local.rope_theta > 0 && Number.isFinite(local.rope_theta)) {
    return local.rope_theta;
  }
  return unsupported('rope_theta of sliding layers other than a positive number');
}
