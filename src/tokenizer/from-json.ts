// Makes a tokeniser from tokenizer.json and the files beside it.

import { LorikeetError } from '../core/errors.ts';
import { chatEncoder } from './chat-encoder.ts';
import { afterAnswer, afterLastAnswer, assertFew, createChatTemplate, probeTurns } from './chat-template.ts';
import { createControlGuard } from './control-guard.ts';
import { createDecoder } from './decoder.ts';
import { createDetokenizer, decodeWhole } from './detokenizer.ts';
import { createEncoder } from './encoder.ts';
import { readAffixes } from './post-processor.ts';
import type { Tokenizer } from './tokenizer.ts';
import { readTokenizerConfig, type TokenizerFiles, tokenOf } from './tokenizer-config.ts';
import { readTokenizerJson } from './tokenizer-json.ts';
import type { AddedToken } from './tokenizer-schema.ts';

export function tokenizerFromJson(files: TokenizerFiles): Tokenizer {
  const json = readTokenizerJson(files.tokenizerJson);
  const config = readTokenizerConfig(files);
  const listed = new Set(json.addedTokens.map(({ id }) => id));
  const added = [...json.addedTokens, ...config.addedTokens.filter(({ id }) => !listed.has(id))];
  const control = new Map(added.filter((token) => token.special).map(({ id, content }) => [id, content]));
  const isSpecial = (token: number) => control.has(token);

  const spellings = spellingsOf(json.model.vocab, added);
  const encoder = createEncoder(json, added);
  const affixes = readAffixes(json.postProcessor);
  const decoder = createDecoder(json.decoder, spellings, new Set(added.map(({ id }) => id)));
  const guard = createControlGuard([...control.values()]);
  const render = config.chatTemplate === null ? null : createChatTemplate(config.chatTemplate, config.variables);

  const named = spellings.indexOf(config.variables.eos_token ?? '');
  const chats = chatEncoder(encoder, guard, isSpecial);
  const endOfTurn = render === null ? null : chats.endToken(afterLastAnswer(render));

  return {
    vocabulary: spellings.length,
    eosTokens: [
      ...new Set([...(named < 0 ? [] : [named]), ...config.eosTokens, ...(endOfTurn === null ? [] : [endOfTurn])]),
    ],
    chatTemplate: config.chatTemplate,
    encode(text, { addSpecialTokens, parseSpecial }) {
      const tokens = encoder.encode(text, parseSpecial);
      return addSpecialTokens ? [...affixes.prefix, ...tokens, ...affixes.suffix] : tokens;
    },
    decode(tokens, { skipSpecial = true } = {}) {
      return decodeWhole(decoder, skipSpecial ? tokens.filter((token) => !isSpecial(token)) : tokens);
    },
    tokenBytes: (token) => decoder.bytes(token),
    isSpecial,
    encodeChat(messages, options = {}) {
      if (render === null) {
        throw new LorikeetError('chat_template_failed', { message: 'The base model has no chat template.' });
      }
      const open = chats.open(config.chatTemplate!, messages, options);
      return open.encode(render(open.messages, options.addGenerationPrompt ?? true, open.variables));
    },
    async encodeChatBy({ source, render: renderBy }, messages, options = {}) {
      assertFew(messages);
      const open = chats.open(source, messages, options);
      const text = await renderBy({
        ...{ ...open.variables, ...config.variables, messages: open.messages },
        add_generation_prompt: options.addGenerationPrompt ?? true,
      });
      return open.encode(text);
    },
    async endOfTurn({ render: renderBy }) {
      const plain = { ...config.variables, messages: probeTurns, add_generation_prompt: false };
      return chats.endToken(afterAnswer(await renderBy(plain)));
    },
    detokenizer: ({ skipSpecial = true } = {}) =>
      createDetokenizer(decoder, (token) => skipSpecial && isSpecial(token)),
  };
}

/** Lists spellings by token id, with holes where a file skips ids. */
function spellingsOf(vocab: Readonly<Record<string, number>>, added: readonly AddedToken[]): (string | undefined)[] {
  const spellings: (string | undefined)[] = [];
  for (const [spelling, token] of Object.entries(vocab)) spellings[tokenOf(token)] = spelling;
  for (const { id, content } of added) spellings[tokenOf(id)] = content;
  return spellings;
}
