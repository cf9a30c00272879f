// A conversation in any interface's words -> one sequence to generate, and what every interface tells of its end.

import type { Message } from '../../schemas/prompt.ts';
import type { SamplingBody } from '../../schemas/sampling.ts';
import type { Services } from '../../services.ts';
import type { Ask, Outcome } from '../generation.ts';
import { encodeMessages } from '../prompt.ts';
import { stopsOf, toSamplingParams } from '../sampling.ts';

/** The most tokens that the caller asks for, and what the caller's own field for it is called. */
export type Longest = { readonly maxTokens: number | null; readonly param: string };

export function chatAsk(
  services: Services,
  messages: readonly Message[],
  sampling: SamplingBody,
  { maxTokens, param }: Longest,
  arrivedAt: number,
): Ask {
  const promptTokens = encodeMessages(services, messages);
  const route = { maxTokens, maxTokensDefault: Number.POSITIVE_INFINITY, maxTokensParam: param, logprobs: null };
  const params = toSamplingParams(services, sampling, route, promptTokens.length);
  return { promptTokens, params, stop: stopsOf(sampling), arrivedAt };
}

/** Drops what was not given: a member that is `undefined` is one that is there. */
export function given<T extends object>(fields: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}

/** Of a single sequence. */
export const usageIn = ({ promptTokens, completionTokens, cachedTokens }: Outcome) => ({
  input: promptTokens,
  output: completionTokens,
  cached: cachedTokens,
});
