// Adapters of llama.cpp (general.type `adapter`), as convert_lora_to_gguf.py writes them, in PEFT's terms. All pairs
// have one alpha, divided by each pair's own rank. In some families the rows of Q and K are in GGUF's order.

import type { ModelShape } from '../../core/base-model.ts';
import type { GgufFile, GgufTensor } from '../gguf.ts';
import { moduleName, type PeftModule, tensorName } from '../peft-modules.ts';
import { invalidAdapter, shorten, unsupportedAdapter } from '../refuse-adapter.ts';
import type { SafetensorsType } from '../safetensors.ts';
import { pairedArchitectures, unpairRows } from '../unpair-rows.ts';
import { type ForeignAdapter, type ForeignTensor, identity } from './foreign-adapter.ts';

const linears: Readonly<Record<string, Exclude<PeftModule['module'], 'lm_head'>>> = {
  attn_q: 'q_proj',
  attn_k: 'k_proj',
  attn_v: 'v_proj',
  attn_output: 'o_proj',
  ffn_gate: 'gate_proj',
  ffn_up: 'up_proj',
  ffn_down: 'down_proj',
};

/** Translates a GGUF adapter. Throws `adapter_invalid`, `adapter_unsupported`. */
export function ggufAdapter({ metadata, tensors }: GgufFile, shape: ModelShape): ForeignAdapter {
  const type = metadata.get('general.type') ?? 'model';
  if (type !== 'adapter')
    unsupportedAdapter('general.type', `is "${shorten(String(type))}": a whole model, no adapter`);
  if (metadata.get('adapter.type') !== 'lora') unsupportedAdapter('adapter.type', 'is not "lora"');
  if (metadata.has('adapter.alora.invocation_tokens')) {
    unsupportedAdapter('adapter.alora.invocation_tokens', 'is set, and would change the result');
  }
  const architecture = metadata.get('general.architecture');
  if (architecture !== shape.architecture) {
    invalidAdapter(
      'general.architecture',
      `is "${shorten(String(architecture))}"; the base model is ${shape.architecture}`,
    );
  }
  const alpha = metadata.get('adapter.lora.alpha') ?? 0;
  if (typeof alpha !== 'number') invalidAdapter('adapter.lora.alpha', 'is no number');
  const ranks = new Map<string, number>();
  const converted = tensors.map((tensor) => {
    const { module, half } = readName(tensor.name);
    const name = moduleName(module);
    if (half === 'a') ranks.set(name, tensor.shape[0]!);
    return toTensor(tensor, module, half, shape);
  });
  const template = metadata.get('tokenizer.chat_template');
  return {
    ...{ config: configOf(alpha, ranks), tensors: converted, warnings: [warning] },
    template: typeof template === 'string' ? template : null,
  };
}

const warning =
  'Converted from a GGUF adapter, which knows one lora_alpha for all pairs and no rsLoRA: ' +
  'where the original had more, it was lost before.';

function readName(name: string): { module: PeftModule; half: 'a' | 'b' } {
  const [, layer, linear, half] = /^(?:blk\.(\d{1,4})\.(\w+)|output)\.weight\.lora_([ab])$/.exec(name) ?? [];
  if (name.startsWith('token_embd.')) unsupportedAdapter(name, 'adapts an embedding');
  if (half === undefined) return invalidAdapter(name, 'is no tensor of a LoRA adapter');
  if (layer === undefined) return { module: { layer: null, module: 'lm_head' }, half: half as 'a' | 'b' };
  const module = linears[linear!];
  if (module === undefined) unsupportedAdapter(name, 'adapts something else than a linear of this base model');
  return { module: { layer: Number(layer), module }, half: half as 'a' | 'b' };
}

function toTensor(tensor: GgufTensor, module: PeftModule, half: 'a' | 'b', shape: ModelShape): ForeignTensor {
  const { type, offset, bytes } = tensor;
  if (!['F32', 'F16', 'BF16'].includes(type)) {
    unsupportedAdapter(tensor.name, `is of type ${type}; F32, F16 and BF16 are read`);
  }
  const name = tensorName(moduleName(module), half === 'a' ? 'loraA' : 'loraB');
  const heads = { q_proj: shape.heads, k_proj: shape.kvHeads }[module.module as string];
  const isPaired = pairedArchitectures.has(shape.architecture) && half === 'b' && heads !== undefined;
  // Sizes are checked later, with all others; rows can be reordered only where the size is right.
  const isWhole = heads !== undefined && tensor.shape[0] === heads * shape.headDim;
  const reorder = isPaired && isWhole ? (data: Uint8Array) => unpairRows(data, heads, shape.headDim) : identity;
  return { name, type: type as SafetensorsType, shape: tensor.shape, offset, bytes, reorder };
}

/** llama.cpp scales by alpha / rank of the pair, or by 1 where alpha is 0. */
function configOf(alpha: number, ranks: ReadonlyMap<string, number>): Record<string, unknown> {
  const r = Math.max(1, ...ranks.values());
  const others = [...ranks].filter(([, rank]) => rank !== r);
  const pattern = Object.fromEntries(others.map(([name, rank]) => [`^${name}`, rank]));
  return {
    r,
    lora_alpha: alpha === 0 ? r : alpha,
    rank_pattern: pattern,
    alpha_pattern: alpha === 0 ? pattern : {},
    target_modules: [...new Set([...ranks.keys()].map((name) => name.split('.').at(-1)!))].sort(),
  };
}
