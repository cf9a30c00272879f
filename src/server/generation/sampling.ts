// Turns a body's sampling fields into SamplingParams. The schema has checked ranges; this checks what depends on the
// model.

import { LorikeetError } from '../../core/errors.ts';
import { defaultSamplingParams as defaults, type SamplingParams } from '../../core/sampling-params.ts';
import type { SamplingBody } from '../schemas/sampling.ts';
import type { Services } from '../services.ts';
import type { Stops } from './stop-strings.ts';

/** Sampling fields that each route names in its own way; `maxTokens` is null where the caller gave none. */
export type RouteSampling = {
  readonly maxTokens: number | null;
  readonly maxTokensDefault: number;
  /** Name of the caller's field, for errors. */
  readonly maxTokensParam: string;
  readonly logprobs: number | null;
  /** Tokens that end the output besides the model's own, such as those of a chat template. */
  readonly ends?: readonly number[];
};

export function toSamplingParams(
  services: Services,
  body: SamplingBody,
  route: RouteSampling,
  promptTokens: number,
): SamplingParams {
  const { tokenizer } = services;
  const maxTokens = fitMaxTokens(services, route, promptTokens);
  return {
    maxTokens,
    minTokens: fitMinTokens(body, maxTokens),
    allowedTokens: knownTokens(body.allowed_token_ids ?? null, tokenizer.vocabulary),
    temperature: body.temperature ?? defaults.temperature,
    topK: body.top_p === 0 ? 1 : Math.max(0, body.top_k ?? defaults.topK),
    topP: body.top_p || defaults.topP,
    minP: body.min_p ?? defaults.minP,
    repetitionPenalty: body.repetition_penalty ?? defaults.repetitionPenalty,
    frequencyPenalty: body.frequency_penalty ?? defaults.frequencyPenalty,
    presencePenalty: body.presence_penalty ?? defaults.presencePenalty,
    logitBias: toLogitBias(body.logit_bias ?? {}, tokenizer.vocabulary),
    seed: body.seed === undefined ? defaults.seed : safeSeed(body.seed),
    stopTokens: [
      ...(body.ignore_eos ? [] : [...tokenizer.eosTokens, ...(route.ends ?? [])]),
      ...(body.stop_token_ids ?? []),
    ],
    logprobs: route.logprobs,
  };
}

/** Parameters of each of `n` choices. Each gets the next seed, since equal seeds would give equal texts. */
export function paramsOfChoices(params: SamplingParams, n: number): SamplingParams[] {
  const { seed } = params;
  return Array.from({ length: n }, (_, i) => (seed === null ? params : { ...params, seed: safeSeed(seed + i) }));
}

/** Reduces a seed to the integers that a number holds exactly. */
const safeSeed = (seed: number) => (Number.isSafeInteger(seed) ? seed : seed % 2 ** 52);

/** The stop strings of a body. Empty ones are left out: they would end every text before its first character. */
export function stopsOf({ stop = [], include_stop_str_in_output: isKept = false }: SamplingBody): Stops {
  return { texts: [stop].flat().filter((text) => text !== ''), isKept };
}

/** The beginning of the error's message, by which clients recognise it (litellm's fallbacks). */
export const contextPhrase = (tokens: number) => `This model's maximum context length is ${tokens} tokens.`;

function fitMaxTokens(services: Services, route: RouteSampling, promptTokens: number): number {
  const context = services.contextTokens();
  const room = context - promptTokens;
  if (route.maxTokens === null) return Math.min(route.maxTokensDefault, room);
  if (route.maxTokens <= room) return route.maxTokens;
  throw new LorikeetError('context_length_exceeded', {
    param: route.maxTokensParam,
    message:
      `${contextPhrase(context)} However, you requested ${promptTokens + route.maxTokens} tokens ` +
      `(${promptTokens} in the prompt, ${route.maxTokens} in the completion by ${route.maxTokensParam}).`,
  });
}

function fitMinTokens({ min_tokens: least = 0 }: SamplingBody, maxTokens: number): number {
  if (least <= maxTokens) return least;
  const message = `min_tokens is ${least}, but the output has at most ${maxTokens} tokens.`;
  throw new LorikeetError('invalid_parameter', { message, param: 'min_tokens' });
}

function knownTokens(tokens: readonly number[] | null, vocabulary: number): readonly number[] | null {
  const unknown = tokens?.find((token) => token >= vocabulary);
  if (unknown === undefined) return tokens;
  const param = 'allowed_token_ids';
  throw new LorikeetError('invalid_parameter', { message: `${param}: the vocabulary has ${vocabulary}.`, param });
}

function toLogitBias(bias: Readonly<Record<string, number>>, vocabulary: number): (readonly [number, number])[] {
  return Object.entries(bias).map(([id, value]) => {
    if (Number(id) < vocabulary) return [Number(id), value] as const;
    const param = `logit_bias[${id}]`;
    throw new LorikeetError('invalid_parameter', { message: `${param}: the vocabulary has ${vocabulary}.`, param });
  });
}
