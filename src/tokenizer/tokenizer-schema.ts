// Schemas of the supported parts of Hugging Face's tokenizer.json: byte-pair encoding, and what surrounds it in the
// Llama, Qwen and Gemma families. The whole folder works with these parts, and GGUF metadata is translated to them.
// Parts of other types have no schema here and are refused by name.

import Type, { type Static, type TSchema } from 'typebox';

const flag = Type.Optional(Type.Boolean());
const pattern = Type.Union([Type.Object({ String: Type.String() }), Type.Object({ Regex: Type.String() })]);
const part = <T extends string, P extends Record<string, TSchema>>(type: T, properties: P) =>
  Type.Object({ type: Type.Literal(type), ...properties });

export const normalizer = Type.Union([
  part('NFC', {}),
  part('NFD', {}),
  part('NFKC', {}),
  part('NFKD', {}),
  part('Prepend', { prepend: Type.String() }),
  part('Replace', { pattern, content: Type.String() }),
]);

export const preTokenizer = Type.Union([
  part('ByteLevel', { add_prefix_space: flag, use_regex: flag }),
  part('Digits', { individual_digits: flag }),
  part('Split', {
    pattern,
    behavior: Type.Enum(['Isolated', 'Removed', 'MergedWithPrevious']),
    invert: flag,
  }),
  part('Metaspace', {
    replacement: Type.String(),
    prepend_scheme: Type.Optional(Type.Enum(['always', 'first', 'never'])),
    split: flag,
  }),
]);

export const postProcessor = Type.Union([
  part('ByteLevel', {}),
  part('TemplateProcessing', {
    single: Type.Array(
      Type.Union([
        Type.Object({ Sequence: Type.Object({ id: Type.String() }) }),
        Type.Object({ SpecialToken: Type.Object({ id: Type.String() }) }),
      ]),
    ),
    special_tokens: Type.Record(Type.String(), Type.Object({ ids: Type.Array(Type.Integer({ minimum: 0 })) })),
  }),
]);

export const decoder = Type.Union([
  part('ByteLevel', {}),
  part('ByteFallback', {}),
  part('Fuse', {}),
  part('Replace', { pattern: Type.Object({ String: Type.String() }), content: Type.String() }),
  part('Strip', { content: Type.Literal(' '), start: Type.Literal(1), stop: Type.Literal(0) }),
]);

export const addedToken = Type.Object({
  id: Type.Integer({ minimum: 0 }),
  content: Type.String({ minLength: 1 }),
  special: flag,
  normalized: flag,
  lstrip: flag,
  rstrip: flag,
  single_word: Type.Optional(Type.Literal(false)),
});

/** Entries of `vocab` and `merges` are checked where they are read: a schema over 300,000 of them costs a second. */
export const model = part('BPE', {
  vocab: Type.Unsafe<Readonly<Record<string, number>>>(Type.Object({})),
  merges: Type.Unsafe<readonly (string | readonly [string, string])[]>(Type.Array(Type.Unknown())),
  unk_token: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  fuse_unk: flag,
  byte_fallback: flag,
  ignore_merges: flag,
  dropout: Type.Optional(Type.Union([Type.Null(), Type.Literal(0)])),
  continuing_subword_prefix: Type.Optional(Type.Union([Type.Null(), Type.Literal('')])),
  end_of_word_suffix: Type.Optional(Type.Union([Type.Null(), Type.Literal('')])),
});

export type Pattern = Static<typeof pattern>;
export type NormalizerPart = Static<typeof normalizer>;
export type PreTokenizerPart = Static<typeof preTokenizer>;
export type PostProcessorPart = Static<typeof postProcessor>;
export type DecoderPart = Static<typeof decoder>;
export type AddedToken = Static<typeof addedToken>;
export type BpeModel = Static<typeof model>;
