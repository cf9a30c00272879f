// A tokeniser whose tokens are bytes, so that a character of n bytes is n tokens and every split can be tested.
// Its chat template is `<|start|>role\ncontent<|end|>` for each message.

import { LorikeetError } from '../../src/core/errors.ts';
import { afterAnswer, probeTurns } from '../../src/tokenizer/chat-template.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { toolTurns } from '../../src/tokenizer/tool-turns.ts';

export const endToken = 256;
export const startToken = 257;
const special = new Map([
  [endToken, '<|end|>'],
  [startToken, '<|start|>'],
]);

export function byteTokenizer(): Tokenizer {
  const tokenBytes = (token: number) => Buffer.from(special.get(token) ?? [token]);
  const isSpecial = (token: number) => special.has(token);
  const text = (tokens: readonly number[], skipSpecial: boolean) =>
    Buffer.concat(tokens.filter((token) => !(skipSpecial && isSpecial(token))).map(tokenBytes));
  const encodeSpecial = (input: string) =>
    input.split(/(<\|end\|>|<\|start\|>)/).flatMap((part) => {
      const token = [...special].find(([, name]) => name === part)?.[0];
      return token === undefined ? [...Buffer.from(part)] : [token];
    });
  return {
    vocabulary: 258,
    eosTokens: [endToken],
    chatTemplate: 'bytes',
    encode(input, { parseSpecial }) {
      if (!parseSpecial) return [...Buffer.from(input)];
      return encodeSpecial(input);
    },
    decode: (tokens, { skipSpecial = true } = {}) => text(tokens, skipSpecial).toString(),
    tokenBytes,
    isSpecial,
    encodeChat(given, { addGenerationPrompt = true, tools = [] } = {}) {
      const { messages } = toolTurns('bytes', given, tools);
      if (messages.some(({ name }) => name === 'refused')) throw new LorikeetError('chat_template_failed');
      const turns = messages.flatMap(({ role, content }) => [
        startToken,
        ...Buffer.from(`${role}\n${content}`),
        endToken,
      ]);
      return addGenerationPrompt ? [...turns, startToken, ...Buffer.from('assistant\n')] : turns;
    },
    async encodeChatBy({ source, render }, given, { addGenerationPrompt = true, tools = [], variables = {} } = {}) {
      const turns = toolTurns(source, given, tools);
      return encodeSpecial(
        await render({ ...variables, ...turns.variables, ...turns, add_generation_prompt: addGenerationPrompt }),
      );
    },
    async endOfTurn({ render }) {
      const text = await render({ messages: probeTurns, add_generation_prompt: false });
      const [first] = encodeSpecial(afterAnswer(text));
      return first !== undefined && isSpecial(first) ? first : null;
    },
    detokenizer({ skipSpecial = true } = {}) {
      const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
      return {
        push: (token) => (skipSpecial && isSpecial(token) ? '' : decoder.decode(tokenBytes(token), { stream: true })),
        flush: () => decoder.decode(),
      };
    },
  };
}
