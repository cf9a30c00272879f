// The values of `tokenizer.ggml.pre` for byte-level vocabularies in GGUF files: llama.cpp's names for ways of splitting
// text.

import { gpt2Pattern } from './pattern.ts';
import type { NormalizerPart, PreTokenizerPart } from './tokenizer-schema.ts';

export type GgufPre = {
  readonly normalizer: readonly NormalizerPart[];
  readonly preTokenizer: readonly PreTokenizerPart[];
  /** Whether a beginning-of-sequence token comes first where the file does not say. */
  readonly addBos: boolean;
  /** A piece that is a whole token becomes that token, regardless of merges. */
  readonly ignoreMerges: boolean;
};

const split = (Regex: string): PreTokenizerPart => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated' });
const words: PreTokenizerPart = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
const bytes: PreTokenizerPart = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };

/** The pattern of Qwen 2 and Llama 3, which differ in how many digits may be one piece. */
const wordsAndDigits = (digits: string) =>
  [
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+',
    digits,
    ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*',
    '\\s*[\\r\\n]+',
    '\\s+(?!\\S)',
    '\\s+',
  ].join('|');

const plain = { normalizer: [], addBos: false, ignoreMerges: false } as const;
const gpt2: GgufPre = { ...plain, preTokenizer: [words] };
const smollm: GgufPre = { ...plain, preTokenizer: [{ type: 'Digits', individual_digits: true }, words] };
const qwen2: GgufPre = {
  ...plain,
  normalizer: [{ type: 'NFC' }],
  preTokenizer: [split(wordsAndDigits('\\p{N}')), bytes],
};
const llama3: GgufPre = {
  ...plain,
  preTokenizer: [split(wordsAndDigits('\\p{N}{1,3}')), bytes],
  addBos: true,
  ignoreMerges: true,
};
/** The split for files written before the key existed. */
const unnamed: GgufPre = {
  ...plain,
  preTokenizer: [
    split('[\\p{P}\\$\\+<=>\\^~\\|]+'),
    split(gpt2Pattern),
    split('\\p{N}+'),
    split('[0-9][0-9][0-9]'),
    bytes,
  ],
};

export const ggufPres: ReadonlyMap<string, GgufPre> = new Map([
  ['default', unnamed],
  ['gpt-2', gpt2],
  ['smollm', smollm],
  ['qwen2', qwen2],
  ['deepseek-r1-qwen', qwen2],
  ['llama-bpe', llama3],
  ['llama-v3', llama3],
  ['llama3', llama3],
]);
