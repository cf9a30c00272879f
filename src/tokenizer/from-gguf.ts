// Makes a tokeniser from GGUF metadata, by translating the metadata to a tokenizer.json.

import { tokenizerFromJson } from './from-json.ts';
import { createMetadataReader, type GgufMetadata } from './gguf-metadata.ts';
import { readGgufVocabulary, tokenTypes } from './gguf-vocabulary.ts';
import { invalid } from './refuse.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { TokenizerFiles } from './tokenizer-config.ts';
import type { AddedToken } from './tokenizer-schema.ts';

export function tokenizerFromGguf(metadata: GgufMetadata): Tokenizer {
  return tokenizerFromJson(filesFromGguf(metadata));
}

/** Makes the files that lie beside the weights of the same model in Hugging Face's form. */
export function filesFromGguf(metadata: GgufMetadata) {
  const reader = createMetadataReader(metadata);
  const tokens = reader.texts('tokenizer.ggml.tokens');
  if (tokens === undefined) throw invalid('GGUF: tokenizer.ggml.tokens is missing.');
  const types = reader.numbers('tokenizer.ggml.token_type') ?? tokens.map(() => tokenTypes.normal);
  if (types.length !== tokens.length) throw invalid('GGUF: tokenizer.ggml.token_type and tokens differ in length.');
  const vocabulary = readGgufVocabulary(reader, tokens, types);

  const idOf = (name: string) => reader.integer(`tokenizer.ggml.${name}_token_id`);
  const named = (name: string) => tokens[idOf(name) ?? -1];
  const affix = (name: string, wanted: boolean) => {
    const content = (reader.flag(`tokenizer.ggml.add_${name}_token`) ?? wanted) ? named(name) : undefined;
    return content === undefined ? [] : [{ SpecialToken: { id: content } }];
  };
  const ends = ['eos', 'eot', 'eom'].map(idOf).filter((token) => token !== undefined);
  const affixes = { bos: affix('bos', vocabulary.addBos), eos: affix('eos', false) };

  return {
    tokenizerJson: {
      added_tokens: tokens.flatMap((content, id) => addedTokenOf(content, id, types[id]!, ends.includes(id))),
      normalizer: { type: 'Sequence', normalizers: vocabulary.normalizer },
      pre_tokenizer: { type: 'Sequence', pretokenizers: vocabulary.preTokenizer },
      decoder: { type: 'Sequence', decoders: vocabulary.decoder },
      post_processor: {
        type: 'TemplateProcessing' as const,
        single: [...affixes.bos, { Sequence: { id: 'A' } }, ...affixes.eos],
        special_tokens: Object.fromEntries(
          ['bos', 'eos'].map((name) => [named(name) ?? '', { ids: [idOf(name) ?? 0] }]),
        ),
      },
      model: vocabulary.model,
    },
    tokenizerConfig: {
      bos_token: named('bos'),
      eos_token: named('eos'),
      unk_token: named('unknown'),
      pad_token: named('padding'),
      chat_template: reader.text('tokenizer.chat_template'),
    },
    generationConfig: { eos_token_id: ends },
  } satisfies TokenizerFiles;
}

/**
 * Makes an added token. Control and unknown tokens are not text; user-defined tokens are text that no merge may cut.
 * Some files declare their end of turn as user-defined: a token that ends a sequence always counts as control.
 */
function addedTokenOf(content: string, id: number, type: number, ends: boolean): AddedToken[] {
  const special = type === tokenTypes.control || type === tokenTypes.unknown || ends;
  if (content === '' || !(special || type === tokenTypes.userDefined)) return [];
  return [{ id, content, special, normalized: false }];
}
