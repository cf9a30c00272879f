// Converts a PEFT adapter to the GGUF file that llama.cpp reads. Knows both layouts; reads and writes bytes.

import type { TensorType } from '../../src/core/base-model.ts';
import { parseSafetensorsHeader, type SafetensorsTensor } from '../../src/formats/safetensors.ts';
import { pairedRow } from '../../src/formats/unpair-rows.ts';
import { type GgufTensorHead, ggufFloat, ggufText, layOutGguf } from '../../src/formats/write-gguf.ts';
import type { AdapterFolder } from '../../test/parity/seeded-adapter.ts';

/** Attention heads of the base model, by which GGUF orders the rows of Q and K. */
export type Heads = { readonly heads: number; readonly kvHeads: number };

type Config = {
  readonly r: number;
  readonly lora_alpha: number;
  readonly use_rslora?: boolean;
  readonly use_dora?: boolean;
  readonly rank_pattern?: object | null;
  readonly alpha_pattern?: object | null;
};

type GgufTensor = GgufTensorHead & { readonly bytes: Uint8Array };

const ggufTypes: Readonly<Record<string, TensorType>> = { F32: 'F32', F16: 'F16', BF16: 'BF16' };
const linears: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};
const alignment = 32;

/**
 * Converts the adapter. llama.cpp has one alpha for all pairs and divides it by each pair's rank, so patterns and DoRA
 * are refused.
 */
export function toGgufAdapter({ config, weights }: AdapterFolder, base: Heads): Uint8Array {
  const { r, lora_alpha, use_rslora, use_dora, ...patterns } = JSON.parse(new TextDecoder().decode(config)) as Config;
  const hasPattern = [patterns.rank_pattern, patterns.alpha_pattern].some((map) => Object.keys(map ?? {}).length > 0);
  if (use_dora || hasPattern) throw new Error('llama.cpp has no DoRA, and no alpha of a single pair');
  const alpha = use_rslora ? lora_alpha * Math.sqrt(r) : lora_alpha;
  const { tensors } = parseSafetensorsHeader(weights, weights.length)!;
  return writeGguf(
    alpha,
    tensors.map((tensor) => toGgufTensor(tensor, weights, base)),
  );
}

function toGgufTensor({ name, type, shape, offset, bytes }: SafetensorsTensor, file: Uint8Array, base: Heads) {
  const parts = /^base_model\.model\.model\.layers\.(\d+)\.(\w+\.\w+)\.lora_([AB])\.weight$/.exec(name);
  const linear = linears[parts?.[2] ?? ''];
  const ggufType = ggufTypes[type];
  if (!parts || !linear || ggufType === undefined) throw new Error(`llama.cpp takes no ${type} tensor ${name}`);
  const data = file.subarray(offset, offset + bytes);
  const heads = { attn_q: base.heads, attn_k: base.kvHeads }[linear];
  return {
    name: `blk.${parts[1]}.${linear}.weight.lora_${parts[3]!.toLowerCase()}`,
    type: ggufType,
    shape,
    bytes: heads !== undefined && parts[3] === 'B' ? pairRows(data, shape[0]!, heads) : data,
  };
}

/** Puts rows j and j + headDim / 2 of a head, which rotary positions turn together, at rows 2j and 2j + 1. */
function pairRows(bytes: Uint8Array, rows: number, heads: number): Uint8Array {
  const rowBytes = bytes.length / rows;
  const headDim = rows / heads;
  const paired = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    paired.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), pairedRow(row, headDim) * rowBytes);
  }
  return paired;
}

function writeGguf(alpha: number, tensors: readonly GgufTensor[]): Uint8Array {
  const entries = [
    ggufText('general.type', 'adapter'),
    ggufText('general.architecture', 'llama'),
    ggufText('adapter.type', 'lora'),
    ggufFloat('adapter.lora.alpha', alpha),
  ];
  const { header, padding } = layOutGguf(entries, tensors, alignment);
  return Buffer.concat([header, ...tensors.flatMap(({ bytes }) => [bytes, padding(bytes.length)])]);
}
