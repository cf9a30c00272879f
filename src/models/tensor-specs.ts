// Lists the tensors that the files of a model of a given shape must contain.

import type { ModelShape } from '../core/base-model.ts';
import { pairedArchitectures } from '../formats/unpair-rows.ts';
import { architectures } from './architectures.ts';

export type TensorSpec = {
  /** Hugging Face's name. */
  readonly name: string;
  readonly gguf: string;
  /** Shape with outputs as rows: [out, in] for a linear, [n] for a vector. */
  readonly shape: readonly number[];
  /** Number of heads whose rows GGUF stores as rotary pairs; 0 where rows are in Hugging Face's order. */
  readonly pairedHeads: number;
  /** GGUF stores 1 + weight. */
  readonly ggufAddsOne: boolean;
  /** Tensors of the model in this one, below each other: several for fused rows, otherwise the tensor itself. */
  readonly parts: readonly { readonly name: string; readonly rows: number }[];
};

/** Lists every tensor: the embedding first, then layer by layer. */
export function tensorSpecs(shape: ModelShape): TensorSpec[] {
  const { hidden, vocabulary } = shape;
  const specs = [spec('model.embed_tokens.weight', 'token_embd.weight', [vocabulary, hidden])];
  for (let layer = 0; layer < shape.layers; layer++) {
    const [name, gguf] = [`model.layers.${layer}.`, `blk.${layer}.`];
    for (const { parts, ...part } of layerSpecs(shape)) {
      specs.push({
        ...{ ...part, name: name + part.name, gguf: gguf + part.gguf },
        parts: parts.map(({ rows, ...own }) => ({ name: name + own.name, rows })),
      });
    }
  }
  specs.push(norm(shape, 'model.norm', 'output_norm', hidden));
  if (!shape.tiedEmbedding) specs.push(spec('lm_head.weight', 'output.weight', [vocabulary, hidden]));
  return specs;
}

function layerSpecs(shape: ModelShape): TensorSpec[] {
  const { hidden, intermediate, heads, kvHeads, headDim } = shape;
  const { qkvBias, qkNorm } = architectures[shape.architecture];
  const queries = heads * headDim;
  const keys = kvHeads * headDim;
  const paired = (count: number) => (pairedArchitectures.has(shape.architecture) ? count : 0);
  return [
    norm(shape, 'input_layernorm', 'attn_norm', hidden),
    ...(shape.fusedRows
      ? [fused('self_attn', 'qkv_proj', 'attn_qkv', { q_proj: queries, k_proj: keys, v_proj: keys }, hidden)]
      : [
          spec('self_attn.q_proj.weight', 'attn_q.weight', [queries, hidden], paired(heads)),
          spec('self_attn.k_proj.weight', 'attn_k.weight', [keys, hidden], paired(kvHeads)),
          spec('self_attn.v_proj.weight', 'attn_v.weight', [keys, hidden]),
        ]),
    ...(qkvBias
      ? [
          spec('self_attn.q_proj.bias', 'attn_q.bias', [queries], paired(heads)),
          spec('self_attn.k_proj.bias', 'attn_k.bias', [keys], paired(kvHeads)),
          spec('self_attn.v_proj.bias', 'attn_v.bias', [keys]),
        ]
      : []),
    ...(qkNorm
      ? [
          norm(shape, 'self_attn.q_norm', 'attn_q_norm', headDim),
          norm(shape, 'self_attn.k_norm', 'attn_k_norm', headDim),
        ]
      : []),
    spec('self_attn.o_proj.weight', 'attn_output.weight', [hidden, queries]),
    ...(shape.outputNorms
      ? [
          norm(shape, 'post_attention_layernorm', 'post_attention_norm', hidden),
          norm(shape, 'pre_feedforward_layernorm', 'ffn_norm', hidden),
        ]
      : [norm(shape, 'post_attention_layernorm', 'ffn_norm', hidden)]),
    ...(shape.fusedRows
      ? [fused('mlp', 'gate_up_proj', 'ffn_up', { gate_proj: intermediate, up_proj: intermediate }, hidden)]
      : [
          spec('mlp.gate_proj.weight', 'ffn_gate.weight', [intermediate, hidden]),
          spec('mlp.up_proj.weight', 'ffn_up.weight', [intermediate, hidden]),
        ]),
    spec('mlp.down_proj.weight', 'ffn_down.weight', [hidden, intermediate]),
    ...(shape.outputNorms ? [norm(shape, 'post_feedforward_layernorm', 'post_ffw_norm', hidden)] : []),
  ];
}

const spec = (name: string, gguf: string, shape: readonly number[], pairedHeads = 0): TensorSpec => ({
  ...{ name, gguf, shape, pairedHeads },
  ggufAddsOne: false,
  parts: [{ name, rows: shape[0]! }],
});

const norm = ({ norms }: ModelShape, name: string, gguf: string, width: number): TensorSpec => ({
  ...spec(`${name}.weight`, `${gguf}.weight`, [width]),
  ggufAddsOne: norms === 'around one',
});

function fused(
  block: string,
  name: string,
  gguf: string,
  rows: Readonly<Record<string, number>>,
  width: number,
): TensorSpec {
  const parts = Object.entries(rows).map(([part, count]) => ({ name: `${block}.${part}.weight`, rows: count }));
  const out = parts.reduce((sum, part) => sum + part.rows, 0);
  return { ...spec(`${block}.${name}.weight`, `${gguf}.weight`, [out, width]), parts };
}
