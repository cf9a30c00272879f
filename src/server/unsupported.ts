// Fields of OpenAI's and vLLM's bodies that are known but not implemented. Leaving out what changes the answer would
// mislead, so these are refused by name; each has the values that ask for nothing and pass. All others are ignored.

import type { FastifyBaseLogger } from 'fastify';
import { LorikeetError } from '../core/errors.ts';

type AsksForNothing = (value: unknown) => boolean;

const off: AsksForNothing = (value) => value === false;
const never: AsksForNothing = () => false;
const empty: AsksForNothing = (value) => value === '' || (Array.isArray(value) && value.length === 0);
const oneOf =
  (...values: unknown[]): AsksForNothing =>
  (value) =>
    values.includes(value);
const typeIsText: AsksForNothing = (value) => (value as { type?: unknown }).type === 'text';
const textOnly: AsksForNothing = (value) => Array.isArray(value) && value.every((entry) => entry === 'text');

const refused: Readonly<Record<string, AsksForNothing>> = {
  // OpenAI
  tools: empty,
  tool_choice: oneOf('none', 'auto'),
  functions: empty,
  function_call: oneOf('none', 'auto'),
  response_format: typeIsText,
  modalities: textOnly,
  audio: never,
  web_search_options: never,
  suffix: empty,
  echo: off,
  best_of: oneOf(1),
  // vLLM
  structured_outputs: never,
  guided_json: never,
  guided_regex: never,
  guided_choice: never,
  guided_grammar: never,
  chat_template: never,
  continue_final_message: off,
  add_generation_prompt: oneOf(true),
  use_beam_search: off,
  min_tokens: oneOf(0),
  bad_words: empty,
  allowed_token_ids: never,
  prompt_logprobs: never,
  truncate_prompt_tokens: never,
  include_stop_str_in_output: off,
  skip_special_tokens: oneOf(true),
  // Our own names for adapters, which these routes take through `model`.
  adapter_id: never,
  adapter_scale: never,
  adapters: empty,
};

/** @param known the names that the route's schema has. */
export function checkUnsupported(body: object, known: object, log: FastifyBaseLogger): void {
  const ignored: string[] = [];
  for (const [name, value] of Object.entries(body)) {
    if (Object.hasOwn(known, name)) continue;
    const asksForNothing = Object.hasOwn(refused, name) ? refused[name] : undefined;
    if (asksForNothing === undefined) ignored.push(name);
    else if (!asksForNothing(value)) throw unsupported(name);
  }
  if (ignored.length > 0) log.debug({ ignored }, 'unknown parameters');
}

/** Fields of a message that carry a tool's part in the conversation. */
export function checkMessages(messages: readonly object[]): void {
  for (const [i, message] of messages.entries()) {
    for (const name of ['function_call', 'audio']) {
      const value = (message as Record<string, unknown>)[name] ?? null;
      if (value !== null && !empty(value)) throw unsupported(`messages[${i}].${name}`);
    }
  }
}

const unsupported = (param: string) =>
  new LorikeetError('unsupported_parameter', { message: `${param} is not supported by this server.`, param });
