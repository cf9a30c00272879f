// text-generation-inference's and LoRAX's API: reads a body as one sequence, and writes their answers.

import { LorikeetError } from '../../../core/errors.ts';
import type { NamedAdapter } from '../../adapters/held-adapters.ts';
import { tgiErrors } from '../../http/error-dialects.ts';
import { type EventStream, plainEvents } from '../../http/event-stream.ts';
import type { TgiBody, TgiParameters } from '../../schemas/tgi.ts';
import type { Services } from '../../services.ts';
import type { EventWriter, StreamDialect } from '../answer.ts';
import type { Ask, Outcome, Piece, Position } from '../generation.ts';
import { generateLogprobs } from '../logprobs.ts';
import { encodeMessages, encodePrompt } from '../prompt.ts';
import { stopsOf, toSamplingParams } from '../sampling.ts';
import { type Asked, compiledGrammar, structureAt } from '../structured-output.ts';
import { type Asking, given } from './chat-ask.ts';

export const tgiStream: StreamDialect = { format: plainEvents, errorBody: tgiErrors.body };

/** TGI's default of max_new_tokens. */
const maxNewTokens = 100;

export function tgiAdapters({ parameters = {} }: TgiBody, baseName: string): NamedAdapter[] {
  const { adapter_id: reference } = parameters;
  if (reference === undefined || reference === '' || reference === baseName) return [];
  return [{ reference, scale: 1, param: 'parameters.adapter_id' }];
}

export async function tgiAsk(
  services: Services,
  { inputs, parameters = {} }: TgiBody,
  { arrivedAt, held }: Asking,
): Promise<{ asks: Ask[] }> {
  const grammar = await compiledGrammar(services, askedOf(parameters), samplingOf(parameters));
  const template = await services.chatTemplates.of(held);
  const whole = parameters.apply_chat_template
    ? await encodeMessages(services, template, [{ role: 'user', content: inputs }])
    : encodePrompt(
        services,
        inputs,
        'inputs',
        parameters.truncate === undefined ? {} : { keepLast: parameters.truncate },
      );
  const route = {
    maxTokens: parameters.max_new_tokens ?? null,
    maxTokensDefault: maxNewTokens,
    maxTokensParam: 'max_new_tokens',
    logprobs: parameters.top_n_tokens ?? 0,
    ...(parameters.apply_chat_template ? { ends: template.ends } : {}),
  };
  const sampling = samplingOf(parameters);
  const params = toSamplingParams(services, sampling, route, whole.length);
  return { asks: [{ promptTokens: whole, params, stop: stopsOf(sampling), arrivedAt, grammar }] };
}

function askedOf({ grammar, response_format: format }: TgiParameters): Asked | null {
  const asked = format === undefined ? null : structureAt('parameters.response_format', { response_format: format });
  if (grammar === undefined) return asked;
  const { type, value } = grammar;
  if (asked !== null) {
    const message = 'parameters.grammar and parameters.response_format exclude each other.';
    throw new LorikeetError('invalid_parameter', { message, param: 'parameters.grammar' });
  }
  const param = 'parameters.grammar.value';
  const isRegex = type === 'regex';
  if (isRegex ? typeof value !== 'string' : typeof value !== 'string' && typeof value !== 'object') {
    const message = `${param} must be ${isRegex ? 'a regular expression' : 'a JSON schema'}.`;
    throw new LorikeetError('invalid_parameter', { message, param });
  }
  // A grammar of type `json_schema` has OpenAI's envelope around the schema.
  const { schema = value } = type === 'json_schema' ? ((value ?? {}) as { schema?: unknown }) : {};
  return structureAt(param, {
    structured_outputs: isRegex ? { regex: value as string } : { json: schema as Record<string, unknown> },
  });
}

/** Sampling parameters: greedy, unless the caller sets do_sample or a field that matters for sampling alone. */
function samplingOf({ do_sample, temperature, top_p, top_k, stop, ...parameters }: TgiParameters) {
  const draws = do_sample || [temperature, top_p, top_k].some((field) => field !== undefined);
  const { repetition_penalty, frequency_penalty, seed, ignore_eos_token: ignore_eos } = parameters;
  const drawn = draws ? { temperature: temperature ?? 1, top_p, top_k } : { temperature: 0 };
  return given({ ...drawn, repetition_penalty, frequency_penalty, seed, ignore_eos, stop });
}

type Describe = { readonly services: Services; readonly body: TgiBody };

/** The answer, with `details` where the caller asks for them. */
export function tgiAnswer({ services, body }: Describe, outcome: Outcome) {
  const { return_full_text: full = false, details = false } = body.parameters ?? {};
  const generated_text = full ? body.inputs + outcome.text : outcome.text;
  if (!details) return { generated_text };
  const tokens = outcome.positions.map((position) => tokenJson(services, position));
  return { generated_text, details: { ...ending(body, outcome), prefill: [], tokens } };
}

function ending({ parameters = {} }: TgiBody, { finishReason, byStopString, ...outcome }: Outcome) {
  const ended = byStopString ? 'stop_sequence' : 'eos_token';
  return {
    finish_reason: finishReason === 'stop' ? ended : 'length',
    prompt_tokens: outcome.promptTokens,
    generated_tokens: outcome.completionTokens,
    skipped_tokens: 0,
    seed: parameters.seed ?? null,
  };
}

function tokenJson({ tokenizer }: Services, position: Position) {
  const { id, token, logprob } = generateLogprobs(tokenizer, [position])[0]!;
  return { id, text: token, logprob, special: tokenizer.isSpecial(id), skipped: false };
}

/** Writes a stream. Each event is held until the next one is known, since the last event carries the whole text. */
export function tgiWriter({ services, body }: Describe, stream: EventStream): EventWriter {
  const { tokenizer } = services;
  type Event = { index: number; token: ReturnType<typeof tokenJson>; top_tokens: unknown[] };
  let held: Event | null = null;
  let index = 0;
  const send = (event: Event, more: object) => stream.send(JSON.stringify({ ...event, ...more }));
  const open = { generated_text: null, details: null };
  return {
    onPiece({ token, text, logprobs }: Piece) {
      if (token === null) {
        if (held !== null) held.token.text += text;
        return;
      }
      if (held !== null) send(held, open);
      const special = tokenizer.isSpecial(token);
      held = {
        index: ++index,
        token: { id: token, text, logprob: logprobs?.logprob ?? 0, special, skipped: false },
        top_tokens: [],
      };
    },
    onOutcome(outcome) {
      const { generated_text } = tgiAnswer({ services, body }, outcome);
      const end = tokenizer.eosTokens[0] ?? 0;
      const nothing = { id: end, text: '', logprob: 0, special: true, skipped: false };
      send(held ?? { index: 1, token: nothing, top_tokens: [] }, { generated_text, details: ending(body, outcome) });
    },
  };
}
