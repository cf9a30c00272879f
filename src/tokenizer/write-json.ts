// A tokeniser from GGUF metadata as the files that Hugging Face's libraries read. Their reader wants every field of
// every part; ours, from-gguf.ts included, takes the usual value for one that is not there.

import { filesFromGguf } from './from-gguf.ts';
import { createMetadataReader, type GgufMetadata } from './gguf-metadata.ts';

/** By file name. */
export type WrittenTokenizer = {
  readonly 'tokenizer.json': object;
  readonly 'tokenizer_config.json': object;
  /** Ids that end a text or begin one; the model's config carries them too. */
  readonly 'generation_config.json': object;
};

type Part = { readonly type: string };

/** Of each part that has fields beyond those that are always said. */
const partDefaults: Readonly<Record<string, object>> = {
  ByteLevel: { add_prefix_space: false, trim_offsets: true, use_regex: true },
  Split: { invert: false },
};
const modelDefaults = {
  ...{ dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
  ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false },
};
const addedDefaults = { single_word: false, lstrip: false, rstrip: false };

/** @param context tokens that the model was made for */
export function writeTokenizer(metadata: GgufMetadata, context: number): WrittenTokenizer {
  const { tokenizerJson: json, tokenizerConfig, generationConfig } = filesFromGguf(metadata);
  const bos = createMetadataReader(metadata).integer('tokenizer.ggml.bos_token_id');
  return {
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: json.added_tokens.map((token) => ({ ...addedDefaults, ...token })),
      normalizer: sequence('normalizers', json.normalizer.normalizers),
      pre_tokenizer: sequence('pretokenizers', json.pre_tokenizer.pretokenizers),
      post_processor: template(json.post_processor),
      decoder: sequence('decoders', json.decoder.decoders),
      model: { ...modelDefaults, ...json.model },
    },
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      clean_up_tokenization_spaces: false,
      model_max_length: context,
      ...tokenizerConfig,
    },
    'generation_config.json': { bos_token_id: bos, ...generationConfig },
  };
}

/** None for an empty list: a sequence of nothing is refused by some versions. */
const sequence = (list: string, parts: readonly Part[]) =>
  parts.length === 0
    ? null
    : { type: 'Sequence', [list]: parts.map((part) => ({ ...partDefaults[part.type], ...part })) };

type Template = ReturnType<typeof filesFromGguf>['tokenizerJson']['post_processor'];

/** One text between its special tokens; a pair of texts, which language models are not given, as two of them. */
function template({ type, single, special_tokens: ids }: Template): object {
  const ofText = (text: 'A' | 'B') =>
    single.map((piece) =>
      'Sequence' in piece
        ? { Sequence: { id: text, type_id: 0 } }
        : { SpecialToken: { id: piece.SpecialToken.id, type_id: 0 } },
    );
  const used = single.flatMap((piece) => ('Sequence' in piece ? [] : [piece.SpecialToken.id]));
  return {
    type,
    single: ofText('A'),
    pair: [...ofText('A'), ...ofText('B')],
    special_tokens: Object.fromEntries(used.map((id) => [id, { id, ids: ids[id]!.ids, tokens: [id] }])),
  };
}
