// What a caller sends (text, token ids, messages) to prompt tokens that fit the context.

import { setImmediate } from 'node:timers/promises';
import { LorikeetError } from '../../core/errors.ts';
import type { ChatMessage } from '../../tokenizer/tokenizer.ts';
import type { Message } from '../schemas/prompt.ts';
import type { Tool } from '../schemas/tools.ts';
import type { Services } from '../services.ts';
import type { ChatTemplate } from './chat-templates.ts';
import { chatTurns } from './chat-turns.ts';
import { contextPhrase } from './sampling.ts';

type PromptOptions = {
  /** What the model's post-processor adds; it is, where this is left out. */
  readonly addSpecialTokens?: boolean;
  /** Only the last so many tokens; all, where this is left out. */
  readonly keepLast?: number;
  /** Places of the context that the prompt leaves; one for the first generated token, where this is left out. */
  readonly leaves?: number;
};

/** @param param where the prompt stands in the body, for the error. Control tokens in the text are read as such. */
export function encodePrompt(
  services: Services,
  prompt: string | readonly number[],
  param: string,
  { addSpecialTokens = true, keepLast = Number.POSITIVE_INFINITY, leaves = 1 }: PromptOptions = {},
): number[] {
  const { tokenizer } = services;
  if (typeof prompt === 'string') {
    refuseLongText(services, prompt.length, param, leaves);
    const tokens = tokenizer.encode(prompt, { addSpecialTokens, parseSpecial: true });
    return checkLength(services, tokens.slice(Math.max(0, tokens.length - keepLast)), param, leaves);
  }
  const unknown = prompt.findIndex((token) => token >= tokenizer.vocabulary);
  if (unknown !== -1) {
    const message = `${param}[${unknown}] is not a token: the vocabulary has ${tokenizer.vocabulary}.`;
    throw new LorikeetError('invalid_parameter', { message, param: `${param}[${unknown}]` });
  }
  return checkLength(services, [...prompt], param, leaves);
}

/** What may be one prompt or several: `[1, 2]` is one, `[[1, 2]]` and `['a']` are lists of them. */
export type Prompts = string | readonly number[] | readonly (string | readonly number[])[];

export async function encodePrompts(
  services: Services,
  prompts: Prompts,
  param: string,
  options: PromptOptions = {},
): Promise<number[][]> {
  const isList = Array.isArray(prompts) && typeof prompts[0] !== 'number';
  if (!isList) return [encodePrompt(services, prompts as string | readonly number[], param, options)];
  const encoded: number[][] = [];
  for (const [i, entry] of (prompts as readonly (string | readonly number[])[]).entries()) {
    encoded.push(encodePrompt(services, entry, `${param}[${i}]`, options));
    // Tokenising many long prompts takes long; the streams of others go on in between.
    await setImmediate();
  }
  return encoded;
}

export type ChatParts = {
  readonly tools?: readonly Tool[];
  /** Variables of the chat template. */
  readonly variables?: Readonly<Record<string, unknown>>;
};

export async function encodeMessages(
  services: Services,
  template: ChatTemplate,
  messages: readonly Message[],
  parts: ChatParts = {},
): Promise<number[]> {
  const { tools = [] } = parts;
  const turns = chatTurns(messages, services.limits);
  const chars = [...turns, ...tools].reduce((sum, turn) => sum + charsOf(turn), 0);
  refuseLongText(services, chars, 'messages');
  const { variables = {} } = parts;
  return checkLength(services, await template.encode(turns, { tools, variables }), 'messages');
}

/** What a turn or a tool adds to a prompt at most; a text alone needs no JSON. */
function charsOf(turn: ChatMessage | Tool): number {
  if ('content' in turn && turn.tool_calls === undefined) return turn.content.length;
  return JSON.stringify(turn).length;
}

/** Throws where even the longest tokens could not carry so much text, so that nobody tokenises megabytes for a 400. */
function refuseLongText(services: Services, chars: number, param: string, leaves = 1): void {
  // UTF-16 units are never more than UTF-8 bytes.
  const charsMax = services.contextTokens() * services.tokenBytesMax();
  if (chars > charsMax) throw tooLong(`${chars} characters`, services.contextTokens(), param, leaves);
}

function checkLength(services: Services, tokens: number[], param: string, leaves = 1): number[] {
  const context = services.contextTokens();
  refuseUnknown(services, tokens, param);
  if (tokens.length === 0) {
    throw new LorikeetError('invalid_parameter', { message: `${param} has no tokens.`, param });
  }
  if (tokens.length + leaves > context) throw tooLong(`${tokens.length} tokens`, context, param, leaves);
  return tokens;
}

/** A tokeniser may have more tokens than the model has embeddings: reading past them would end the engine. */
function refuseUnknown({ engine }: Services, tokens: readonly number[], param: string): void {
  const embeddings = engine.info?.shape.vocabulary ?? 0;
  const unknown = tokens.findIndex((token) => token >= embeddings);
  if (unknown === -1) return;
  const message = `${param} has token ${tokens[unknown]}, of which the model has no embedding: it has ${embeddings}.`;
  throw new LorikeetError('invalid_parameter', { message, param });
}

function tooLong(size: string, context: number, param: string, leaves = 1): LorikeetError {
  const output = leaves > 0 ? ', and the output needs room too' : '';
  const message = `${contextPhrase(context)} However, ${param} has ${size}${output}.`;
  return new LorikeetError('context_length_exceeded', { message, param });
}
