// Writes log-probabilities in the shapes of three interfaces. They are natural logarithms, as the engine gives them.

import type { TokenLogprobs } from '../../protocol/messages.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { CompletionLogprobs } from '../schemas/completions.ts';
import type { Position } from './generation.ts';

type Spelled = { readonly text: string; readonly bytes: number[] };

/** Spelled tokens of each vocabulary by id, since one answer may have half a million entries. */
const known = new WeakMap<Tokenizer, Spelled[]>();

/** A token as text and bytes. In the text a part of a character is U+FFFD. */
function spell(tokenizer: Tokenizer, token: number): Spelled {
  const tokens = known.get(tokenizer) ?? [];
  known.set(tokenizer, tokens);
  const bytes = tokens[token] === undefined ? tokenizer.tokenBytes(token) : null;
  if (bytes !== null) tokens[token] = { text: Buffer.from(bytes).toString(), bytes: [...bytes] };
  return tokens[token]!;
}

const tokenText = (tokenizer: Tokenizer, token: number): string => spell(tokenizer, token).text;

export type GenerateLogprob = { id: number; token: string; logprob: number };

export function alternatives(tokenizer: Tokenizer, { top }: TokenLogprobs): GenerateLogprob[] {
  return top.map(([id, logprob]) => ({ id, token: tokenText(tokenizer, id), logprob }));
}

export function generateLogprobs(tokenizer: Tokenizer, positions: readonly Position[]) {
  return positions.map(({ token, logprobs }) => ({
    id: token,
    token: tokenText(tokenizer, token),
    logprob: logprobs.logprob,
    top: alternatives(tokenizer, logprobs),
  }));
}

export function chatLogprobs(tokenizer: Tokenizer, positions: readonly Position[]) {
  const entry = (token: number, logprob: number) => {
    const { text, bytes } = spell(tokenizer, token);
    return { token: text, logprob, bytes };
  };
  return {
    content: positions.map(({ token, logprobs: { logprob, top } }) => ({
      ...entry(token, logprob),
      top_logprobs: top.map(([id, value]) => entry(id, value)),
    })),
    refusal: null,
  };
}

/** A token with its log-probabilities; null for the first token of a prompt. */
type Told = { readonly token: number; readonly logprobs: TokenLogprobs | null };

/** The best tokens with the token itself, as in OpenAI's answers. */
const topOf = (token: number, { logprob, top }: TokenLogprobs): readonly (readonly [number, number])[] =>
  top.length === 0 || top.some(([id]) => id === token) ? top : [...top, [token, logprob]];

/**
 * Makes the writer for one choice, whose positions may come in several calls. `text_offset` counts UTF-16 units of the
 * output over all calls.
 */
export function completionLogprobs(tokenizer: Tokenizer): (positions: readonly Told[]) => CompletionLogprobs {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let offset = 0;
  return (positions) => ({
    tokens: positions.map(({ token }) => legacyText(tokenizer, token)),
    token_logprobs: positions.map(({ logprobs }) => logprobs?.logprob ?? null),
    top_logprobs: positions.map(({ token, logprobs }) =>
      logprobs === null
        ? null
        : Object.fromEntries(topOf(token, logprobs).map(([id, value]) => [legacyText(tokenizer, id), value])),
    ),
    text_offset: positions.map(({ token }) => {
      const start = offset;
      if (!tokenizer.isSpecial(token)) offset += decoder.decode(tokenizer.tokenBytes(token), { stream: true }).length;
      return start;
    }),
  });
}

/**
 * A token as text for this shape, which has no bytes and uses texts as keys: a part of a character becomes
 * `bytes:\xf0\x9f`, as in OpenAI's answers.
 */
function legacyText(tokenizer: Tokenizer, token: number): string {
  const { text, bytes } = spell(tokenizer, token);
  // U+FFFD in the text may also be the token's real content, and is not a broken character then.
  if (!text.includes('\ufffd') || Buffer.from(text).equals(Buffer.from(bytes))) return text;
  return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
}
