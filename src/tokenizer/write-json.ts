// Writes a tokeniser in GGUF metadata as the files that Hugging Face's libraries read. Those need every field of every
// part, while the parts from from-gguf.ts leave out fields with default values.

import { filesFromGguf } from './from-gguf.ts';
import { createMetadataReader, type GgufMetadata } from './gguf-metadata.ts';

/** Contents by file name. */
export type WrittenTokenizer = {
  readonly 'tokenizer.json': object;
  readonly 'tokenizer_config.json': object;
  /** Ids that end or begin a text; the model's config has them too. */
  readonly 'generation_config.json': object;
};

type Part = { readonly type: string };

/** Default values of the further fields of some parts. */
const partDefaults: Readonly<Record<string, object>> = {
  ByteLevel: { add_prefix_space: false, trim_offsets: true, use_regex: true },
  Split: { invert: false },
};
const modelDefaults = {
  ...{ dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
  ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false },
};
const addedDefaults = { single_word: false, lstrip: false, rstrip: false };

/** @param context longest context of the model, in tokens */
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

/** Makes a sequence; null for an empty list, since some versions refuse an empty sequence. */
const sequence = (list: string, parts: readonly Part[]) =>
  parts.length === 0
    ? null
    : { type: 'Sequence', [list]: parts.map((part) => ({ ...partDefaults[part.type], ...part })) };

type Template = ReturnType<typeof filesFromGguf>['tokenizerJson']['post_processor'];

/**
 * Makes the template of one text with its special tokens. A pair of texts, which language models never get, is two of
 * them.
 */
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
