// Translates the two kinds of vocabulary in GGUF files to parts of tokenizer.json: GPT-2's bytes with merges, and
// SentencePiece's pieces with scores.

import { byteTokenName } from './bpe.ts';
import type { MetadataReader } from './gguf-metadata.ts';
import { ggufPres } from './gguf-pre.ts';
import { invalid, unsupported } from './refuse.ts';
import type { BpeModel, DecoderPart, NormalizerPart, PreTokenizerPart } from './tokenizer-schema.ts';

/** llama.cpp's token types; all others are bytes and unused tokens. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4 } as const;

export type GgufVocabulary = {
  readonly normalizer: readonly NormalizerPart[];
  readonly preTokenizer: readonly PreTokenizerPart[];
  readonly decoder: readonly DecoderPart[];
  readonly model: BpeModel;
  /** Whether a beginning-of-sequence token comes first where the file does not say. */
  readonly addBos: boolean;
};

export function readGgufVocabulary(
  reader: MetadataReader,
  tokens: readonly string[],
  types: readonly number[],
): GgufVocabulary {
  const vocab = Object.fromEntries(tokens.map((content, id) => [content, id]));
  const kind = reader.text('tokenizer.ggml.model');
  if (kind === 'gpt2') return byteLevelVocabulary(reader, vocab);
  if (kind === 'llama') return sentencePieceVocabulary(reader, tokens, types, vocab);
  throw unsupported(`the GGUF model "${kind}"`);
}

function byteLevelVocabulary(reader: MetadataReader, vocab: BpeModel['vocab']): GgufVocabulary {
  const name = reader.text('tokenizer.ggml.pre') ?? 'default';
  const pre = ggufPres.get(name);
  if (pre === undefined) throw unsupported(`the GGUF pre-tokeniser "${name}"`);
  const merges = reader.texts('tokenizer.ggml.merges');
  if (merges === undefined) throw invalid('GGUF: tokenizer.ggml.merges is missing.');
  return {
    ...pre,
    decoder: [{ type: 'ByteLevel' }],
    model: { type: 'BPE', vocab, merges, ignore_merges: pre.ignoreMerges },
  };
}

function sentencePieceVocabulary(
  reader: MetadataReader,
  tokens: readonly string[],
  types: readonly number[],
  vocab: BpeModel['vocab'],
): GgufVocabulary {
  const scores = reader.numbers('tokenizer.ggml.scores');
  if (scores?.length !== tokens.length) throw invalid('GGUF: tokenizer.ggml.scores and tokens differ in length.');
  const unknown = tokens[reader.integer('tokenizer.ggml.unknown_token_id') ?? 0];
  const spacePrefix = reader.flag('tokenizer.ggml.add_space_prefix') ?? true;
  const space = '\u2581';
  const strip: DecoderPart[] = spacePrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [];
  return {
    addBos: true,
    normalizer: [
      ...(spacePrefix ? [{ type: 'Prepend' as const, prepend: space }] : []),
      { type: 'Replace', pattern: { String: ' ' }, content: space },
    ],
    preTokenizer: [],
    decoder: [
      { type: 'Replace', pattern: { String: space }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      ...strip,
    ],
    model: {
      type: 'BPE',
      vocab,
      merges: mergesOf(
        tokens.filter((_, id) => types[id] === tokenTypes.normal),
        vocab,
        scores,
      ),
      unk_token: unknown ?? null,
      fuse_unk: true,
      byte_fallback: byteTokenName(0) in vocab,
    },
  };
}

/**
 * Derives merges from scores. SentencePiece merges the pair whose joined piece has the best score. As ranked merges:
 * every split of a piece into two known ones, the best score first, and within a piece the longest left half first (as
 * transformers orders them).
 */
function mergesOf(
  pieces: readonly string[],
  vocab: BpeModel['vocab'],
  scores: readonly number[],
): (readonly [string, string])[] {
  const merges: (readonly [string, string])[] = [];
  const known = new Map(Object.entries(vocab));
  const score = (piece: string) => scores[known.get(piece)!]!;
  for (const piece of pieces.toSorted((a, b) => score(b) - score(a))) {
    for (let at = piece.length - 1; at > 0; at--) {
      const [left, right] = [piece.slice(0, at), piece.slice(at)];
      if (known.has(left) && known.has(right)) merges.push([left, right]);
    }
  }
  return merges;
}
