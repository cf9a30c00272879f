// Features that cannot be read exactly are refused by name; a broken file is refused as invalid.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { tokenizerFromGguf } from '../../src/tokenizer/from-gguf.ts';
import { tokenizerFromJson } from '../../src/tokenizer/from-json.ts';
import { ggufMetadata, jsonFiles } from './tokenizers.ts';

function refused(run: () => unknown, code: string, message: RegExp): void {
  assert.throws(run, (error) => error instanceof LorikeetError && error.code === code && message.test(error.message));
}

function fromChangedJson(change: Record<string, unknown>) {
  return () => tokenizerFromJson({ tokenizerJson: { ...jsonFiles('smollm').tokenizerJson, ...change } });
}

function fromChangedModel(change: Record<string, unknown>) {
  return fromChangedJson({ model: { ...(jsonFiles('smollm').tokenizerJson.model as object), ...change } });
}

function fromChangedGguf(name: string, key: string, value: unknown) {
  return () => tokenizerFromGguf(new Map([...ggufMetadata(name), [`tokenizer.ggml.${key}`, value]]));
}

const split = (change: object) => ({
  pre_tokenizer: { type: 'Split', pattern: { String: 'a' }, behavior: 'Isolated', ...change },
});

const unsupported: Record<string, [run: () => unknown, message: RegExp]> = {
  'a model of another type': [fromChangedModel({ type: 'Unigram' }), /Unigram/],
  'merges with dropout': [fromChangedModel({ dropout: 0.1 }), /dropout/],
  'suffixed words': [fromChangedModel({ end_of_word_suffix: '</w>' }), /end_of_word_suffix/],
  'a normaliser': [fromChangedJson({ normalizer: { type: 'Precompiled' } }), /normalizer of type Precompiled/],
  'a pre-tokeniser': [fromChangedJson({ pre_tokenizer: { type: 'Whitespace' } }), /pre_tokenizer of type Whitespace/],
  'a part of a sequence': [
    fromChangedJson({ pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Punctuation' }] } }),
    /pre_tokenizer of type Punctuation/,
  ],
  'a post-processor': [fromChangedJson({ post_processor: { type: 'BertProcessing' } }), /BertProcessing/],
  'a decoder': [fromChangedJson({ decoder: { type: 'WordPiece' } }), /decoder of type WordPiece/],
  'no decoder': [fromChangedJson({ decoder: null }), /decoder ""/],
  'a split behaviour': [fromChangedJson(split({ behavior: 'Contiguous' })), /behavior/],
  'an inverted merge': [fromChangedJson(split({ behavior: 'MergedWithPrevious', invert: true })), /MergedWithPrevious/],
  'a possessive quantifier': [fromChangedJson(split({ pattern: { Regex: 'a++b' } })), /pattern a\+\+b/],
  'a word boundary': [fromChangedJson(split({ pattern: { Regex: '\\bx' } })), /pattern/],
  'a whole-word token': [
    fromChangedJson({ added_tokens: [{ id: 500, content: 'x', single_word: true }] }),
    /single_word/,
  ],
  'a GGUF model': [fromChangedGguf('smollm', 'model', 'bert'), /GGUF model "bert"/],
  'a GGUF pre-tokeniser': [fromChangedGguf('smollm', 'pre', 'tekken'), /pre-tokeniser "tekken"/],
};

for (const [name, [run, message]] of Object.entries(unsupported)) {
  it(`refuses ${name}`, () => refused(run, 'model_unsupported', message));
}

const invalid: Record<string, [run: () => unknown, message: RegExp]> = {
  'tokenizer.json that is a list': [() => tokenizerFromJson({ tokenizerJson: [] }), /tokenizer.json is not an object/],
  'no model': [() => tokenizerFromJson({ tokenizerJson: {} }), /model is not an object/],
  'an id that is no integer': [fromChangedModel({ vocab: { a: 1.5 } }), /impossible token id: 1.5/],
  'an id beyond any vocabulary': [fromChangedModel({ vocab: { a: 2 ** 31 } }), /impossible token id/],
  'a merge of one part': [fromChangedModel({ merges: ['ab'] }), /merge "ab"/],
  'a merge of numbers': [fromChangedModel({ merges: [7] }), /merge 7/],
  'a list of parts that is none': [
    fromChangedJson({ decoder: { type: 'Sequence' } }),
    /decoder.decoders is not a list/,
  ],
  'a template without the text': [
    fromChangedJson({ post_processor: { type: 'TemplateProcessing', single: [], special_tokens: {} } }),
    /no place for the text/,
  ],
  'GGUF without tokens': [() => tokenizerFromGguf(new Map()), /tokens is missing/],
  'GGUF without merges': [fromChangedGguf('smollm', 'merges', undefined), /merges is missing/],
  'GGUF token types of another length': [fromChangedGguf('smollm', 'token_type', [1]), /differ in length/],
  'GGUF scores of another length': [fromChangedGguf('llama', 'scores', [0]), /differ in length/],
  'GGUF text where a number belongs': [fromChangedGguf('smollm', 'bos_token_id', 'x'), /bos_token_id.*wrong type/],
  'GGUF numbers where text belongs': [fromChangedGguf('smollm', 'tokens', [1, 2]), /tokens.*wrong type/],
};

for (const [name, [run, message]] of Object.entries(invalid)) {
  it(`finds invalid: ${name}`, () => refused(run, 'model_file_invalid', message));
}
