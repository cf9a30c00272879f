// Checks tokenizer.json and flattens its sequences. An unknown part that would change the result is refused, never
// skipped.

import Type, { type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { invalid, objectOf, unsupported } from './refuse.ts';
import {
  type AddedToken,
  addedToken,
  type BpeModel,
  type DecoderPart,
  decoder,
  model,
  type NormalizerPart,
  normalizer,
  type PostProcessorPart,
  type PreTokenizerPart,
  postProcessor,
  preTokenizer,
} from './tokenizer-schema.ts';

/** The file with flat sections: an absent one is an empty list, a single part a list of one. */
export type TokenizerJson = {
  readonly addedTokens: readonly AddedToken[];
  readonly normalizer: readonly NormalizerPart[];
  readonly preTokenizer: readonly PreTokenizerPart[];
  readonly postProcessor: readonly PostProcessorPart[];
  readonly decoder: readonly DecoderPart[];
  readonly model: BpeModel;
};

type Validator<T = unknown> = { Check(value: unknown): value is T; Errors(value: unknown): { instancePath: string }[] };

const validators = (union: { anyOf: (TSchema & { properties: { type: { const: string } } })[] }) =>
  new Map<unknown, Validator>(union.anyOf.map((schema) => [schema.properties.type.const, Compile(schema)]));

/** Sections, each with the field under which a `Sequence` lists its parts, and the validators of known parts. */
const sections = {
  normalizer: { list: 'normalizers', parts: validators(normalizer) },
  pre_tokenizer: { list: 'pretokenizers', parts: validators(preTokenizer) },
  post_processor: { list: 'processors', parts: validators(postProcessor) },
  decoder: { list: 'decoders', parts: validators(decoder) },
} as const;
const addedTokensCheck = Compile(Type.Array(addedToken));
const modelCheck = Compile(model);

export function readTokenizerJson(value: unknown): TokenizerJson {
  const root = objectOf(value, 'tokenizer.json');
  const modelType = objectOf(root.model, 'tokenizer.json: model').type ?? 'BPE';
  if (modelType !== 'BPE') throw unsupported(`a tokeniser model of type ${String(modelType)}`);
  return {
    addedTokens: readAddedTokens(root.added_tokens ?? []),
    normalizer: partsOf<NormalizerPart>('normalizer', root.normalizer),
    preTokenizer: partsOf<PreTokenizerPart>('pre_tokenizer', root.pre_tokenizer),
    postProcessor: partsOf<PostProcessorPart>('post_processor', root.post_processor),
    decoder: partsOf<DecoderPart>('decoder', root.decoder),
    model: checked(modelCheck, { type: 'BPE', ...objectOf(root.model, 'tokenizer.json: model') }, 'model'),
  };
}

export function readAddedTokens(value: unknown): readonly AddedToken[] {
  return checked(addedTokensCheck, value, 'added_tokens');
}

function partsOf<Part>(name: keyof typeof sections, value: unknown): readonly Part[] {
  if (value === null || value === undefined) return [];
  const { list, parts: known } = sections[name];
  const section = objectOf(value, `tokenizer.json: ${name}`);
  const parts = section.type === 'Sequence' ? section[list] : [section];
  if (!Array.isArray(parts)) throw invalid(`tokenizer.json: ${name}.${list} is not a list.`);
  for (const part of parts) {
    const { type } = objectOf(part, `tokenizer.json: a part of ${name}`);
    const validator = known.get(type);
    if (validator === undefined) throw unsupported(`a ${name} of type ${type}`);
    checked(validator, part, `a ${name} ${type}`);
  }
  return parts;
}

/**
 * Returns a valid value. A known part with a field or value outside the schema would change the result, so it is
 * refused too.
 */
function checked<T>(validator: Validator<T>, value: unknown, name: string): T {
  if (validator.Check(value)) return value;
  const [error] = validator.Errors(value);
  throw unsupported(`${name} with an unknown value at "${error?.instancePath ?? ''}"`);
}
