// `tokenizer.ggml.pre` of byte-level vocabularies in GGUF files: a name for how text is split, as llama.cpp knows it.

import { gpt2Pattern } from './pattern.ts';
import type { NormalizerPart, PreTokenizerPart } from './tokenizer-schema.ts';

export type GgufPre = {
  readonly normalizer: readonly NormalizerPart[];
  readonly preTokenizer: readonly PreTokenizerPart[];
  /** Where the file doesn't say: a beginning-of-sequence token in front. */
  readonly addBos: boolean;
  /** A piece that is a token as a whole is that token, whatever the merges. */
  readonly ignoreMerges: boolean;
};

const split = (Regex: string): PreTokenizerPart => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated' });
const words: PreTokenizerPart = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
const bytes: PreTokenizerPart = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };

/** Qwen 2's and Llama 3's pattern; they differ in how many digits may stand together. */
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
/** Of files from before the key existed. */
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
