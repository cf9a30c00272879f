// What an architecture changes, one row each, and from it the tensors that a model of a given shape must have. Another
// decoder of the family is another row here and, where it computes something new, a part in graph/.

import type { Architecture, ModelShape } from '../core/base-model.ts';

export type ArchitectureRow = {
  /** `model_type` and `architectures` in config.json; the class must be the causal one, with an output head. */
  readonly modelTypes: readonly string[];
  readonly classes: readonly string[];
  /** `general.architecture` of GGUF, and the prefix of its keys. */
  readonly gguf: string;
  /** In GGUF the rows of q_proj and k_proj stand as adjacent rotary pairs instead of as two halves. */
  readonly ggufPairsRotary: boolean;
  /** q_proj, k_proj and v_proj have a bias. */
  readonly qkvBias: boolean;
  /** q and k go through an RMS norm over each head before rotary. */
  readonly qkNorm: boolean;
  /** What is still missing here to run it; null where nothing is. */
  readonly missing: string | null;
};

export const architectures: Readonly<Record<Architecture, ArchitectureRow>> = {
  llama: {
    modelTypes: ['llama', 'mistral'],
    classes: ['LlamaForCausalLM', 'MistralForCausalLM'],
    gguf: 'llama',
    ggufPairsRotary: true,
    qkvBias: false,
    qkNorm: false,
    missing: null,
  },
  qwen2: {
    modelTypes: ['qwen2'],
    classes: ['Qwen2ForCausalLM'],
    gguf: 'qwen2',
    ggufPairsRotary: false,
    qkvBias: true,
    qkNorm: false,
    missing: null,
  },
  qwen3: {
    modelTypes: ['qwen3'],
    classes: ['Qwen3ForCausalLM'],
    gguf: 'qwen3',
    ggufPairsRotary: false,
    qkvBias: false,
    qkNorm: true,
    missing: null,
  },
  gemma3: {
    modelTypes: ['gemma3', 'gemma3_text'],
    classes: ['Gemma3ForCausalLM'],
    gguf: 'gemma3',
    ggufPairsRotary: false,
    qkvBias: false,
    qkNorm: true,
    missing: 'sliding-window layers, embedding scaling and four norms a layer',
  },
};

export const supportedArchitectures = (Object.keys(architectures) as Architecture[]).filter(
  (name) => architectures[name].missing === null,
);

/** A tensor that the model must have. */
export type TensorSpec = {
  /** Hugging Face's name. */
  readonly name: string;
  readonly gguf: string;
  /** Rows are outputs: [out, in] for a linear, [n] for a vector. */
  readonly shape: readonly number[];
  /** Heads whose rows GGUF stores as rotary pairs; 0 where the rows are in order. */
  readonly pairedHeads: number;
};

/** Every tensor of a model of this shape, the embedding first, then layer by layer. */
export function tensorSpecs(shape: ModelShape): TensorSpec[] {
  const { hidden, vocabulary } = shape;
  const specs = [spec('model.embed_tokens.weight', 'token_embd.weight', [vocabulary, hidden])];
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const part of layerSpecs(shape)) {
      specs.push({ ...part, name: `model.layers.${layer}.${part.name}`, gguf: `blk.${layer}.${part.gguf}` });
    }
  }
  specs.push(spec('model.norm.weight', 'output_norm.weight', [hidden]));
  if (!shape.tiedEmbedding) specs.push(spec('lm_head.weight', 'output.weight', [vocabulary, hidden]));
  return specs;
}

function layerSpecs(shape: ModelShape): TensorSpec[] {
  const { hidden, intermediate, heads, kvHeads, headDim } = shape;
  const row = architectures[shape.architecture];
  const queries = heads * headDim;
  const keys = kvHeads * headDim;
  const paired = (count: number) => (row.ggufPairsRotary ? count : 0);
  return [
    spec('input_layernorm.weight', 'attn_norm.weight', [hidden]),
    spec('self_attn.q_proj.weight', 'attn_q.weight', [queries, hidden], paired(heads)),
    spec('self_attn.k_proj.weight', 'attn_k.weight', [keys, hidden], paired(kvHeads)),
    spec('self_attn.v_proj.weight', 'attn_v.weight', [keys, hidden]),
    ...(row.qkvBias
      ? [
          spec('self_attn.q_proj.bias', 'attn_q.bias', [queries], paired(heads)),
          spec('self_attn.k_proj.bias', 'attn_k.bias', [keys], paired(kvHeads)),
          spec('self_attn.v_proj.bias', 'attn_v.bias', [keys]),
        ]
      : []),
    ...(row.qkNorm
      ? [
          spec('self_attn.q_norm.weight', 'attn_q_norm.weight', [headDim]),
          spec('self_attn.k_norm.weight', 'attn_k_norm.weight', [headDim]),
        ]
      : []),
    spec('self_attn.o_proj.weight', 'attn_output.weight', [hidden, queries]),
    spec('post_attention_layernorm.weight', 'ffn_norm.weight', [hidden]),
    spec('mlp.gate_proj.weight', 'ffn_gate.weight', [intermediate, hidden]),
    spec('mlp.up_proj.weight', 'ffn_up.weight', [intermediate, hidden]),
    spec('mlp.down_proj.weight', 'ffn_down.weight', [hidden, intermediate]),
  ];
}

const spec = (name: string, gguf: string, shape: readonly number[], pairedHeads = 0): TensorSpec => ({
  name,
  gguf,
  shape,
  pairedHeads,
});
