// The small tokenisers of the fixtures, each made from both kinds of file that may contain it.

import { tokenizerFromGguf } from '../../src/tokenizer/from-gguf.ts';
import { tokenizerFromJson } from '../../src/tokenizer/from-json.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import type { TokenizerFiles } from '../../src/tokenizer/tokenizer-config.ts';
import { readSmall, type Variant } from './fixtures.ts';

export const small = readSmall();
export const raw = { addSpecialTokens: true, parseSpecial: true } as const;
export const plain = { addSpecialTokens: false, parseSpecial: false } as const;

type Added = { readonly id: number; readonly content: string; readonly special: boolean };
const types = { normal: 1, control: 3, userDefined: 4 } as const;

export function jsonFiles(name: string): TokenizerFiles & { readonly tokenizerJson: Record<string, unknown> } {
  const bytes = small.byteVariants[name];
  if (bytes !== undefined) {
    const model = { ...small.bytes, ignore_merges: name === 'llama-bpe' };
    return { tokenizerJson: { ...bytes.parts, model }, tokenizerConfig: chatml() };
  }
  const { tokens, scores, types: kinds } = name === 'gemma' ? small.gemmaPieces : small.pieces;
  const order = [...scores.keys()].filter((id) => kinds[id] === types.normal).sort((a, b) => scores[b]! - scores[a]!);
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const merges = order.flatMap((id) => cutsOf(tokens[id]!).filter((pair) => pair.every((half) => half in vocab)));
  const model = { type: 'BPE', vocab, merges, unk_token: '<unk>', fuse_unk: true, byte_fallback: true };
  return { tokenizerJson: { ...small.pieceVariants[name]!.parts, model } };
}

const cutsOf = (piece: string) =>
  Array.from(piece.slice(1), (_, at) => [piece.slice(0, -at - 1), piece.slice(-at - 1)] as const);

export function ggufMetadata(name: string): Map<string, unknown> {
  const bytes = small.byteVariants[name];
  const entries = bytes === undefined ? pieceEntries(name) : byteEntries(name, bytes);
  return new Map(Object.entries(entries).map(([key, value]) => [`tokenizer.${key}`, value]));
}

function byteEntries(name: string, { parts }: Variant): Record<string, unknown> {
  const tokens = Object.entries(small.bytes.vocab).toSorted((a, b) => a[1] - b[1]);
  const added = parts.added_tokens as Added[];
  const idOf = (content: string) => added.find((token) => token.content === content)?.id;
  return {
    'ggml.model': 'gpt2',
    'ggml.pre': name,
    'ggml.tokens': [...tokens.map(([token]) => token), ...added.map(({ content }) => content)],
    'ggml.token_type': [
      ...tokens.map(() => types.normal),
      ...added.map(({ special }) => (special ? types.control : types.userDefined)),
    ],
    'ggml.merges': small.bytes.merges.map((pair) => pair.join(' ')),
    'ggml.bos_token_id': idOf('<|begin_of_text|>') ?? idOf('<|im_start|>'),
    'ggml.eos_token_id': idOf('<|endoftext|>') ?? idOf('<|eot_id|>'),
    chat_template: small.chatml,
  };
}

function pieceEntries(name: string): Record<string, unknown> {
  const { tokens, scores, types: kinds } = name === 'gemma' ? small.gemmaPieces : small.pieces;
  return {
    'ggml.model': 'llama',
    'ggml.tokens': tokens,
    'ggml.scores': scores,
    'ggml.token_type': kinds,
    'ggml.bos_token_id': 1,
    'ggml.eos_token_id': 2,
    'ggml.unknown_token_id': 0,
    'ggml.add_space_prefix': name !== 'gemma',
  };
}

function chatml(): Record<string, unknown> {
  return { bos_token: '<|im_start|>', eos_token: { content: '<|endoftext|>' }, chat_template: small.chatml };
}

export const fromJson = (name: string): Tokenizer => tokenizerFromJson(jsonFiles(name));
export const fromGguf = (name: string): Tokenizer => tokenizerFromGguf(ggufMetadata(name));
