// Reads the files beside tokenizer.json: named special tokens, the chat template, end-of-sequence ids.

import { plainTemplate } from '../core/chat-template.ts';
import { limits } from '../core/limits.ts';
import { invalid, objectOf } from './refuse.ts';
import { readAddedTokens } from './tokenizer-json.ts';
import type { AddedToken } from './tokenizer-schema.ts';

/** The parsed files beside the weights. */
export type TokenizerFiles = {
  readonly tokenizerJson: unknown;
  readonly tokenizerConfig?: unknown;
  readonly generationConfig?: unknown;
  /** Content of chat_template.jinja, which overrides the template in tokenizer_config.json. */
  readonly chatTemplate?: string;
};

export type TokenizerConfig = {
  /** Special tokens by the names that chat templates use: bos_token, eos_token, ... */
  readonly variables: Readonly<Record<string, string>>;
  readonly chatTemplate: string | null;
  readonly addedTokens: readonly AddedToken[];
  readonly eosTokens: readonly number[];
};

const names = ['bos_token', 'eos_token', 'unk_token', 'pad_token'];

export function readTokenizerConfig(files: TokenizerFiles): TokenizerConfig {
  const config = objectOf(files.tokenizerConfig ?? {}, 'tokenizer_config.json');
  const generation = objectOf(files.generationConfig ?? {}, 'generation_config.json');
  const listed = Object.entries(objectOf(config.added_tokens_decoder ?? {}, 'added_tokens_decoder'));
  const variables = names.flatMap((name) => {
    const content = contentOf(config[name]);
    return content === null ? [] : [[name, content] as const];
  });
  return {
    variables: Object.fromEntries(variables),
    chatTemplate: files.chatTemplate ?? plainTemplate(config.chat_template),
    addedTokens: readAddedTokens(listed.map(([id, token]) => ({ ...objectOf(token, 'added token'), id: Number(id) }))),
    eosTokens: [generation.eos_token_id ?? []].flat().map(tokenOf),
  };
}

/** Reads a special token, which is a text or an object with the text. */
function contentOf(value: unknown): string | null {
  const content = typeof value === 'object' && value !== null && 'content' in value ? value.content : value;
  return typeof content === 'string' ? content : null;
}

export function tokenOf(value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < limits.modelVocabulary)
    return value as number;
  throw invalid(`The tokeniser has an impossible token id: ${String(value)}.`);
}
