// A PEFT adapter as the GGUF file that llama.cpp takes. Knows both layouts; reads and writes bytes.

import { parseSafetensorsHeader, type SafetensorsTensor } from '../../src/formats/safetensors.ts';
import type { AdapterFolder } from '../../test/parity/seeded-adapter.ts';

/** Attention heads of the base model: GGUF keeps the rows of Q and K in another order. */
export type Heads = { readonly heads: number; readonly kvHeads: number };

type Config = {
  readonly r: number;
  readonly lora_alpha: number;
  readonly use_rslora?: boolean;
  readonly use_dora?: boolean;
  readonly rank_pattern?: object | null;
  readonly alpha_pattern?: object | null;
};

type GgufTensor = {
  readonly name: string;
  readonly type: number;
  readonly shape: number[];
  readonly bytes: Uint8Array;
};

const ggufTypes: Readonly<Record<string, number>> = { F32: 0, F16: 1, BF16: 30 };
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

/** llama.cpp has one alpha for all pairs and divides it by each pair's rank, so patterns and DoRA cannot be said. */
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
    // Fastest dimension first.
    shape: shape.toReversed(),
    bytes: heads !== undefined && parts[3] === 'B' ? pairRows(data, shape[0]!, heads) : data,
  };
}

/** What rotary turns together, rows j and j + headDim / 2 of a head, becomes rows 2j and 2j + 1. */
function pairRows(bytes: Uint8Array, rows: number, heads: number): Uint8Array {
  const rowBytes = bytes.length / rows;
  const headDim = rows / heads;
  const paired = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    const at = row % headDim;
    const target = row - at + (at < headDim / 2 ? 2 * at : 2 * at - headDim + 1);
    paired.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), target * rowBytes);
  }
  return paired;
}

/** Version 3: counts, metadata, what tensors there are, and their data, each aligned. */
function writeGguf(alpha: number, tensors: readonly GgufTensor[]): Uint8Array {
  const entries = [
    [text('general.type'), u32(8), text('adapter')],
    [text('general.architecture'), u32(8), text('llama')],
    [text('adapter.type'), u32(8), text('lora')],
    [text('adapter.lora.alpha'), u32(6), f32(alpha)],
  ];
  let position = 0;
  const infos = tensors.map(({ name, type, shape, bytes }) => {
    const offset = position;
    position = aligned(position + bytes.length);
    return [text(name), u32(shape.length), ...shape.map(u64), u32(type), u64(offset)];
  });
  const head = Buffer.concat([
    ...[Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length)],
    ...entries.flat(),
    ...infos.flat(),
  ]);
  return Buffer.concat([head, ...tensors.map(({ bytes }) => bytes)].flatMap((bytes) => [bytes, padding(bytes.length)]));
}

const aligned = (position: number) => Math.ceil(position / alignment) * alignment;
const padding = (length: number) => Buffer.alloc(aligned(length) - length);

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
