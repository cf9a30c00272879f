// Encodes a conversation by the chat template, and finds the tokens that the assistant speaks: from behind a turn's
// header to its end-of-turn token. Templates add system messages and drop parts of earlier turns, so nothing is
// inferred from what a turn should look like.

import { LorikeetError } from '../core/errors.ts';
import type { TrainingMessage, TrainingTool } from '../formats/training-rows.ts';
import type { ChatMessage, Tokenizer } from '../tokenizer/tokenizer.ts';

export type Conversation = {
  readonly tokens: readonly number[];
  /** [start, end) of each target turn, its end-of-turn token included. */
  readonly spans: readonly (readonly [number, number])[];
};

export type EncodeConversation = (
  messages: readonly TrainingMessage[],
  tools?: readonly TrainingTool[],
) => Conversation;

export function encodeConversation(tokenizer: Tokenizer): EncodeConversation {
  const header = tokenizer.chatTemplate === null ? null : answerHeader(tokenizer);
  return (messages, tools = []) => {
    const turns: ChatMessage[] = messages.map(({ isTarget: _, ...turn }) => turn);
    const answers = [...messages.keys()].filter((index) => messages[index]!.role === 'assistant');
    const tokens = tokenizer.encodeChat(turns, { addGenerationPrompt: false, tools });
    const starts = headerEnds(tokens, header);
    const spans = answers.flatMap((index, answer) => {
      if (!messages[index]!.isTarget) return [];
      const isTold = starts.length === answers.length;
      const start = isTold
        ? starts[answer]!
        : startAfterPrefix(tokenizer, { before: turns.slice(0, index), tools }, tokens);
      const end = start === null ? -1 : tokens.findIndex((token, at) => at >= start && isEnd(tokenizer, token));
      if (start === null || end === -1) throw untold(index);
      return [[start, end + 1] as const];
    });
    return { tokens, spans };
  };
}

const isEnd = (tokenizer: Tokenizer, token: number) => tokenizer.eosTokens.includes(token);

const untold = (index: number) =>
  new LorikeetError('chat_template_failed', {
    message: `The chat template does not show where messages[${index}] begins and ends.`,
    param: `messages[${index}]`,
  });

/**
 * The tokens that open an answer: `stem` always; `space` too, unless the answer begins with white space and both became
 * one token.
 */
type AnswerHeader = { readonly stem: readonly number[]; readonly space: number | null };

/**
 * The tokens that the template adds to ask for an answer. null where it adds no control token: plain text may stand in
 * any turn, while control tokens that are typed into a turn are never encoded as such.
 */
function answerHeader(tokenizer: Tokenizer): AnswerHeader | null {
  const question = [{ role: 'user', content: 'a' }];
  try {
    const bare = tokenizer.encodeChat(question, { addGenerationPrompt: false });
    const asking = tokenizer.encodeChat(question, { addGenerationPrompt: true });
    const added = asking.slice(bare.length);
    if (!startsWith(asking, bare) || !added.some(tokenizer.isSpecial)) return null;
    const last = added.at(-1)!;
    const isSpace = !tokenizer.isSpecial(last) && tokenizer.decode([last]).trim() === '';
    return isSpace ? { stem: added.slice(0, -1), space: last } : { stem: added, space: null };
  } catch {
    // A template that refuses so short a conversation gives no header.
    return null;
  }
}

/** Positions behind each header in `tokens`, in order. */
function headerEnds(tokens: readonly number[], header: AnswerHeader | null): number[] {
  if (header === null) return [];
  const { stem, space } = header;
  const ends: number[] = [];
  for (let at = tokens.indexOf(stem[0]!); at !== -1; at = tokens.indexOf(stem[0]!, at + 1)) {
    const end = at + stem.length;
    if (startsWith(tokens.slice(at, end), stem)) ends.push(tokens[end] === space ? end + 1 : end);
  }
  return ends;
}

/**
 * Where no header can be found: the position behind what the template makes of the turns before; null where that is no
 * prefix.
 */
function startAfterPrefix(
  tokenizer: Tokenizer,
  { before, tools }: { readonly before: readonly ChatMessage[]; readonly tools: readonly TrainingTool[] },
  tokens: readonly number[],
): number | null {
  if (before.length === 0) return null;
  for (const addGenerationPrompt of [true, false]) {
    const prefix = tokenizer.encodeChat(before, { addGenerationPrompt, tools });
    if (startsWith(tokens, prefix)) return prefix.length;
  }
  return null;
}

const startsWith = (tokens: readonly number[], prefix: readonly number[]) =>
  prefix.length <= tokens.length && prefix.every((token, index) => token === tokens[index]);
