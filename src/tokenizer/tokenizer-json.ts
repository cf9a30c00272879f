// The parts of Hugging Face's tokenizer.json that are read here: byte-pair encoding and what surrounds it in the
// Llama, Qwen and Gemma families. This is the vocabulary of the folder: GGUF metadata is turned into it too.
// A part of another type is refused by its name, never skipped.

import Type, { type Static, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { LorikeetError } from '../core/errors.ts';

const flag = Type.Optional(Type.Boolean());
const pattern = Type.Union([Type.Object({ String: Type.String() }), Type.Object({ Regex: Type.String() })]);
const part = <T extends string, P extends Record<string, TSchema>>(type: T, properties: P) =>
  Type.Object({ type: Type.Literal(type), ...properties });

const normalizer = Type.Union([
  part('NFC', {}),
  part('NFD', {}),
  part('NFKC', {}),
  part('NFKD', {}),
  part('Prepend', { prepend: Type.String() }),
  part('Replace', { pattern, content: Type.String() }),
]);

const preTokenizer = Type.Union([
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

const postProcessor = Type.Union([
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

const decoder = Type.Union([
  part('ByteLevel', {}),
  part('ByteFallback', {}),
  part('Fuse', {}),
  part('Replace', { pattern: Type.Object({ String: Type.String() }), content: Type.String() }),
  part('Strip', { content: Type.Literal(' '), start: Type.Literal(1), stop: Type.Literal(0) }),
]);

const addedToken = Type.Object({
  id: Type.Integer({ minimum: 0 }),
  content: Type.String({ minLength: 1 }),
  special: flag,
  normalized: flag,
  lstrip: flag,
  rstrip: flag,
  single_word: Type.Optional(Type.Literal(false)),
});

/** Entries of `vocab` and `merges` are checked where they are read: a schema over 300,000 of them costs a second. */
const model = part('BPE', {
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

/** Sequences are flat here: none is an empty list, a single part a list of one. */
export type TokenizerJson = {
  readonly addedTokens: readonly AddedToken[];
  readonly normalizer: readonly NormalizerPart[];
  readonly preTokenizer: readonly PreTokenizerPart[];
  readonly postProcessor: readonly PostProcessorPart[];
  readonly decoder: readonly DecoderPart[];
  readonly model: BpeModel;
};

/** The section of tokenizer.json, the field under which its `Sequence` lists the parts, and what a part may be. */
const sections = {
  normalizer: { list: 'normalizers', part: normalizer, check: Compile(normalizer) },
  pre_tokenizer: { list: 'pretokenizers', part: preTokenizer, check: Compile(preTokenizer) },
  post_processor: { list: 'processors', part: postProcessor, check: Compile(postProcessor) },
  decoder: { list: 'decoders', part: decoder, check: Compile(decoder) },
} as const;
const addedTokensCheck = Compile(Type.Array(addedToken));
const modelCheck = Compile(model);

export function readTokenizerJson(value: unknown): TokenizerJson {
  const root = objectOf(value, 'tokenizer.json');
  const modelType = objectOf(root.model, 'tokenizer.json: model').type ?? 'BPE';
  if (modelType !== 'BPE') throw unsupported(`a tokeniser model of type ${String(modelType)}`);
  return {
    addedTokens: checked(addedTokensCheck, root.added_tokens ?? [], 'added_tokens'),
    normalizer: partsOf<NormalizerPart>('normalizer', root.normalizer),
    preTokenizer: partsOf<PreTokenizerPart>('pre_tokenizer', root.pre_tokenizer),
    postProcessor: partsOf<PostProcessorPart>('post_processor', root.post_processor),
    decoder: partsOf<DecoderPart>('decoder', root.decoder),
    model: checked(modelCheck, { type: 'BPE', ...objectOf(root.model, 'tokenizer.json: model') }, 'model'),
  };
}

export function unsupported(what: string): LorikeetError {
  return new LorikeetError('model_unsupported', {
    message: `The model's tokeniser has ${what}, which is not supported.`,
  });
}

export function invalid(what: string): LorikeetError {
  return new LorikeetError('model_file_invalid', { message: what });
}

export function objectOf(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${name} is not an object.`);
  return value as Record<string, unknown>;
}

function partsOf<Part>(name: keyof typeof sections, value: unknown): readonly Part[] {
  if (value === null || value === undefined) return [];
  const { list, part, check } = sections[name];
  const section = objectOf(value, `tokenizer.json: ${name}`);
  const parts = section.type === 'Sequence' ? section[list] : [section];
  if (!Array.isArray(parts)) throw invalid(`tokenizer.json: ${name}.${list} is not a list.`);
  for (const entry of parts) {
    const type = objectOf(entry, `tokenizer.json: a part of ${name}`).type;
    if (!part.anyOf.some((known) => known.properties.type.const === type))
      throw unsupported(`a ${name} of type ${type}`);
    checked(check as Validator, entry, `${name} ${type}`);
  }
  return parts;
}

type Validator<T = unknown> = { Check(value: unknown): value is T; Errors(value: unknown): { instancePath: string }[] };

/** A known part with a field or a value outside the schema would change the result, so it is refused too. */
function checked<T>(validator: Validator<T>, value: unknown, name: string): T {
  if (validator.Check(value)) return value;
  const [error] = validator.Errors(value);
  throw unsupported(`${name} with an unknown value at "${error?.instancePath ?? ''}"`);
}
