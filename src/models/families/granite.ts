// Granite, IBM's dense models: a Llama with scales for embeddings, residual, attention and logits.

import type { ModelTraits } from '../../core/base-model.ts';
import { unsupported } from '../fields.ts';
import { type Family, llamaLike } from './family.ts';
import { refuseGgufWindow, refuseWindow } from './windows.ts';

type Scales = { embedding: number; residual: number; attention: number | null; logitsDivisor: number };

function traitsOf({ embedding, residual, attention, logitsDivisor }: Scales): ModelTraits {
  return {
    ...(embedding === 1 ? {} : { embeddingScale: embedding }),
    ...(residual === 1 ? {} : { residualScale: residual }),
    ...(attention === null ? {} : { attentionScale: attention }),
    ...(logitsDivisor === 1 ? {} : { logitsScale: 1 / logitsDivisor }),
  };
}

export const granite: Family = {
  ...llamaLike,
  modelTypes: { granite: {} },
  classes: ['GraniteForCausalLM'],
  gguf: 'granite',
  fromConfig(config, shape) {
    refuseWindow(config, shape);
    return traitsOf({
      embedding: config.positive('embedding_multiplier', 1),
      residual: config.positive('residual_multiplier', 1),
      attention: config.positive('attention_multiplier', 1),
      logitsDivisor: config.positive('logits_scaling', 1),
    });
  },
  fromGguf(metadata, shape) {
    refuseGgufWindow(metadata, shape);
    if (metadata.get('rope.scaling.finetuned') === false) unsupported('rope.scaling.finetuned is false');
    const own = (key: string) => (metadata.get(key) === 0 ? 1 : metadata.positive(key, 1));
    const isSaid = ![undefined, 0].includes(metadata.get('attention.scale') as undefined);
    return traitsOf({
      embedding: own('embedding_scale'),
      residual: own('residual_scale'),
      attention: isSaid ? own('attention.scale') : null,
      logitsDivisor: own('logit_scale'),
    });
  },
  toConfig: ({ embeddingScale = 1, residualScale = 1, attentionScale, logitsScale = 1, headDim }) => ({
    embedding_multiplier: embeddingScale,
    residual_multiplier: residualScale,
    attention_multiplier: attentionScale ?? headDim ** -0.5,
    logits_scaling: 1 / logitsScale,
  }),
};
