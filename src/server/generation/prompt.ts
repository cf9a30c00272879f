// Turns what a caller sends (text, token ids, messages) into prompt tokens that fit the context.

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
  /** Whether the tokeniser adds its special tokens, such as the beginning of a text; true if left out. */
  readonly addSpecialTokens?: boolean;
  /** Keeps the last so many tokens alone; left out: all. */
  readonly keepLast?: number;
  /** Positions of the context that must stay free behind the prompt; 1 if left out, for the first generated token. */
  readonly leaves?: number;
};

/**
 * Encodes one prompt and checks its length. Control tokens in the text are parsed as such.
 * @param param where the prompt is in the body, for errors
 */
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

/** One prompt or several: `[1, 2]` is one, `[[1, 2]]` and `['a']` are lists. */
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
    // Lets other streams continue: encoding many long prompts takes long.
    await setImmediate();
  }
  return encoded;
}

/**
 * Makes a hook that runs before the schema, which checks each element. It refuses lists that are too long by their
 * length alone, with the code and message that a valid list of that length gets. Other values are left to the schema.
 * @param options.promptsMax most texts, or lists of token ids, in one request; 0: the route takes one prompt
 */
export const refuseLongLists =
  (services: Services, param: string, { leaves = 1, promptsMax = 0 } = {}) =>
  async ({ body }: { readonly body?: unknown }): Promise<void> => {
    const prompt = (body as Readonly<Record<string, unknown>> | null | undefined)?.[param];
    if (!Array.isArray(prompt) || services.engine.info === null) return;
    const check = (tokens: readonly unknown[], place: string) => {
      const context = services.contextTokens();
      if (tokens.length + leaves > context) throw tooLong(`${tokens.length} tokens`, context, place, leaves);
    };
    if (typeof prompt[0] === 'number') return check(prompt, param);
    if (promptsMax === 0) return;
    if (prompt.length > promptsMax) {
      const message = `${param} has ${prompt.length} texts; at most ${promptsMax} are taken in one request.`;
      throw new LorikeetError('invalid_parameter', { message, param });
    }
    for (const [i, entry] of prompt.entries()) if (Array.isArray(entry)) check(entry, `${param}[${i}]`);
  };

export type ChatParts = {
  readonly tools?: readonly Tool[];
  /** Variables for the chat template. */
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

/** Upper bound of the characters that a turn or a tool adds to the prompt. */
function charsOf(turn: ChatMessage | Tool): number {
  if ('content' in turn && turn.tool_calls === undefined) return turn.content.length;
  return JSON.stringify(turn).length;
}

/** Throws where a text cannot fit even in the longest tokens, so that megabytes are not encoded only to be refused. */
function refuseLongText(services: Services, chars: number, param: string, leaves = 1): void {
  // A text has at most as many UTF-16 units as UTF-8 bytes.
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

/**
 * Throws for tokens that the model has no embedding of, as some tokenisers have: reading past the embeddings would end
 * the engine.
 */
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
