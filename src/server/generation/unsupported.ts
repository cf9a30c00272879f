// Fields of OpenAI's and vLLM's bodies that this server knows and does not implement. Fields that would change the
// answer are refused by name, except with values that ask for nothing. A name near a known one is a typing error and
// refused too. All other fields change no answer: they are ignored, and a header of the answer names them.

import type { FastifyReply } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';
import { suggest } from '../http/suggest.ts';

type AsksForNothing = (value: unknown) => boolean;

const off: AsksForNothing = (value) => value === false;
const never: AsksForNothing = () => false;
const empty: AsksForNothing = (value) => value === '' || (Array.isArray(value) && value.length === 0);
const oneOf =
  (...values: unknown[]): AsksForNothing =>
  (value) =>
    values.includes(value);
const isEmptyObject: AsksForNothing = (value) => typeof value === 'object' && Object.keys(value ?? {}).length === 0;
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
  bad_words: empty,
  prompt_logprobs: never,
  truncate_prompt_tokens: never,
  skip_special_tokens: oneOf(true),
  // OpenAI's responses
  input: never,
  instructions: empty,
  max_output_tokens: never,
  previous_response_id: never,
  conversation: never,
  background: off,
  include: empty,
  text: (value) => isEmptyObject(value) || typeIsText((value as { format?: unknown }).format ?? {}),
  truncation: oneOf('disabled'),
  // This server's own names for adapters, which these routes take through `model`.
  adapter_id: never,
  adapter_scale: never,
  adapters: empty,
  // Other servers' fields for an adapter, which these routes take through `model`.
  lora: empty,
  lora_path: never,
  lora_name: never,
  lora_request: never,
  lora_adapter: never,
  // Other servers' fields for the form of a text and for sampling.
  grammar: empty,
  json_schema: never,
  regex: never,
  ebnf: never,
  structural_tag: never,
  logits_processors: empty,
  custom_logit_processor: never,
  prompt_embeds: never,
  documents: empty,
  length_penalty: oneOf(1),
  min_new_tokens: oneOf(0),
  max_new_tokens: never,
  max_length: never,
  n_predict: never,
  num_predict: oneOf(-1),
  t_max_predict_ms: oneOf(-1, 0),
  n_indent: oneOf(0),
  truncate: never,
  return_full_text: off,
  details: off,
  decoder_input_details: off,
  top_n_tokens: oneOf(0),
  watermark: off,
  random_seed: never,
  samplers: never,
  options: isEmptyObject,
  sampling_params: isEmptyObject,
  parameters: isEmptyObject,
  format: empty,
  raw: off,
  n_probs: oneOf(0),
  num_beams: oneOf(1),
  num_return_sequences: oneOf(1),
  no_repeat_ngram_size: oneOf(0),
  do_sample: never,
  stop_sequences: empty,
  stop_regex: empty,
  repeat_penalty: oneOf(1),
  mirostat: oneOf(0),
  mirostat_mode: oneOf(0),
  dry_multiplier: oneOf(0),
  dynatemp_range: oneOf(0),
  xtc_probability: oneOf(0),
  typical_p: oneOf(1),
  top_a: oneOf(0),
  tfs: oneOf(1),
  tfs_z: oneOf(1),
  smoothing_factor: oneOf(0),
  top_n_sigma: oneOf(-1, 0),
  guidance_scale: oneOf(1),
  negative_prompt: empty,
  add_special_tokens: never,
  return_token_ids: off,
  return_tokens_as_token_ids: off,
  // Other servers' fields for what a model reads beside the messages.
  system: empty,
  system_prompt: empty,
  safe_prompt: off,
  images: empty,
  image_data: empty,
  container: never,
  mcp_servers: empty,
  // Fields for how much a model thinks and writes, which the served models' templates do not take.
  chat_template_kwargs: isEmptyObject,
  reasoning_effort: oneOf('none'),
  reasoning: never,
  thinking: never,
  enable_thinking: never,
  think: off,
  verbosity: oneOf('medium'),
};

/** Fields that say nothing about the text: they are ignored, and are never taken for a typing error. */
const idle = new Set([
  ...['user', 'store', 'metadata', 'service_tier', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_options'],
  ...['prompt_cache_retention', 'prediction', 'parallel_tool_calls', 'request_id', 'priority', 'rid'],
  ...['return_hidden_states', 'cache_prompt', 'id_slot', 'session_id', 'extra_body', 'timeout', 'extra_headers'],
]);

/** Header that names the ignored fields. */
export const ignoredHeader = 'x-ignored-parameters';

/**
 * Refuses or ignores the fields of a body that the route does not know.
 * @param known the route's schema of fields
 * @param others treatment of a field that no list here has; OpenAI's older routes get fields of many servers
 */
export function checkUnsupported(
  body: object,
  known: object,
  reply: FastifyReply,
  others: 'ignored' | 'refused' = 'ignored',
): void {
  const ignored: string[] = [];
  for (const [name, value] of Object.entries(body)) {
    if (Object.hasOwn(known, name)) continue;
    const asksForNothing = Object.hasOwn(refused, name) ? refused[name] : undefined;
    if (asksForNothing === undefined) {
      refuseTypingError(name, known);
      if (others === 'refused' && !idle.has(name)) throw unsupported(name);
      ignored.push(name);
    } else if (!asksForNothing(value)) throw unsupported(name);
  }
  if (ignored.length === 0) return;
  const told = ignored.slice(0, 20).map((name) => encodeURIComponent(name.slice(0, 100).toWellFormed()));
  reply.log.warn({ ignored: told }, 'parameters that are not known here were ignored');
  reply.header(ignoredHeader, told.join(', ').slice(0, 1000));
}

function refuseTypingError(name: string, known: object): void {
  const meant = idle.has(name) ? null : suggest(name, Object.keys(known));
  if (meant === null) return;
  const message = `${name} is not a known parameter. Did you mean ${meant}?`;
  throw new LorikeetError('unknown_parameter', { message, param: name });
}

/** Throws for old fields of a message that would carry a tool call or sound. */
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
