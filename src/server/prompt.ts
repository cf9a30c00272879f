// What a caller sends (text, token ids, messages) to prompt tokens that fit the context.

import { LorikeetError } from '../core/errors.ts';
import { contextPhrase } from './sampling.ts';
import type { Message } from './schemas/prompt.ts';
import type { Services } from './services.ts';

type PromptOptions = {
  /** What the model's post-processor adds; it is, where this is left out. */
  readonly addSpecialTokens?: boolean;
  /** Only the last so many tokens; all, where this is left out. */
  readonly keepLast?: number;
};

/** @param param where the prompt stands in the body, for the error. Control tokens in the text are read as such. */
export function encodePrompt(
  services: Services,
  prompt: string | readonly number[],
  param: string,
  { addSpecialTokens = true, keepLast = Number.POSITIVE_INFINITY }: PromptOptions = {},
): number[] {
  const { tokenizer } = services;
  if (typeof prompt === 'string') {
    refuseLongText(services, prompt.length, param);
    const tokens = tokenizer.encode(prompt, { addSpecialTokens, parseSpecial: true });
    return checkLength(services, tokens.slice(Math.max(0, tokens.length - keepLast)), param);
  }
  const unknown = prompt.findIndex((token) => token >= tokenizer.vocabulary);
  if (unknown !== -1) {
    const message = `${param}[${unknown}] is not a token: the vocabulary has ${tokenizer.vocabulary}.`;
    throw new LorikeetError('invalid_parameter', { message, param: `${param}[${unknown}]` });
  }
  return checkLength(services, [...prompt], param);
}

export function encodeMessages(services: Services, messages: readonly Message[]): number[] {
  const turns = messages.map(({ role, content, name }) => ({
    // OpenAI's newer word for the same turn; templates know the older one.
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'string' ? content : content.map((part) => part.text).join('\n'),
    ...(name === undefined ? {} : { name }),
  }));
  const chars = turns.reduce((sum, { content }) => sum + content.length, 0);
  refuseLongText(services, chars, 'messages');
  return checkLength(services, services.tokenizer.encodeChat(turns, { addGenerationPrompt: true }), 'messages');
}

/** Throws where even the longest tokens could not carry so much text, so that nobody tokenises megabytes for a 400. */
function refuseLongText(services: Services, chars: number, param: string): void {
  // UTF-16 units are never more than UTF-8 bytes.
  const charsMax = services.contextTokens() * services.tokenBytesMax();
  if (chars > charsMax) throw tooLong(`${chars} characters`, services.contextTokens(), param);
}

function checkLength(services: Services, tokens: number[], param: string): number[] {
  const context = services.contextTokens();
  if (tokens.length === 0) {
    throw new LorikeetError('invalid_parameter', { message: `${param} has no tokens.`, param });
  }
  // The first generated token needs a place too.
  if (tokens.length >= context) throw tooLong(`${tokens.length} tokens`, context, param);
  return tokens;
}

function tooLong(size: string, context: number, param: string): LorikeetError {
  const message = `${contextPhrase(context)} However, ${param} has ${size}, and the output needs room too.`;
  return new LorikeetError('context_length_exceeded', { message, param });
}
