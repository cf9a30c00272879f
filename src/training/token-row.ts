// Encodes a row of a training file as tokens, with a mark on each token that the loss counts. Knows a tokeniser and no
// files.

import type { TrainingRow } from '../formats/training-rows.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { encodeConversation } from './conversation.ts';

export type TokenRow = {
  readonly tokens: Int32Array;
  /** 1 where the loss counts a token, which is predicted from all tokens before it; 0 for the first. */
  readonly counted: Uint8Array;
};

export type EncodeRow = (row: TrainingRow) => TokenRow;

/** Throws `chat_template_failed` for a conversation whose assistant turns cannot be found. */
export function rowEncoder(tokenizer: Tokenizer): EncodeRow {
  const [end] = tokenizer.eosTokens;
  if (end === undefined) throw new Error('The tokeniser has no end-of-sequence token.');
  const conversation = encodeConversation(tokenizer);
  return (row) => {
    if (row.kind === 'chat') {
      const { tokens, spans } = conversation(row.messages, row.tools);
      return markRow(tokens, spans);
    }
    // Encoded as the prompt of a request is, so that the adapter is served what it was trained on.
    const prompt = tokenizer.encode(row.prompt, { addSpecialTokens: true, parseSpecial: true });
    const completion = tokenizer.encode(row.completion, { addSpecialTokens: false, parseSpecial: true });
    const tokens = [...prompt, ...completion, end];
    return markRow(tokens, [[prompt.length, tokens.length]]);
  };
}

/** Marks the tokens of `spans`, which are [start, end). */
function markRow(tokens: readonly number[], spans: readonly (readonly [number, number])[]): TokenRow {
  const counted = new Uint8Array(tokens.length);
  for (const [start, end] of spans) counted.fill(1, start, end);
  counted[0] = 0;
  return { tokens: Int32Array.from(tokens), counted };
}

/** Keeps the first `length` tokens of a row. */
export const cutRow = ({ tokens, counted }: TokenRow, length: number): TokenRow => ({
  tokens: tokens.slice(0, length),
  counted: counted.slice(0, length),
});

export const countTargets = ({ counted }: TokenRow): number => counted.reduce((sum, mark) => sum + mark, 0);
