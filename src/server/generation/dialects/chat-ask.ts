// A conversation in any interface's words -> one sequence to generate, and what every interface tells of its end.

import type { FastifyRequest } from 'fastify';
import { type HeldAdapters, type NamedAdapter, whileHeld } from '../../adapters/held-adapters.ts';
import type { Message } from '../../schemas/prompt.ts';
import type { SamplingBody } from '../../schemas/sampling.ts';
import type { ToolsBody } from '../../schemas/tools.ts';
import type { Services } from '../../services.ts';
import type { Ask, Outcome } from '../generation.ts';
import { encodeMessages } from '../prompt.ts';
import { stopsOf, toSamplingParams } from '../sampling.ts';
import { type Asked, compiledGrammar } from '../structured-output.ts';
import { type ChatReader, chatOutput, plainReader } from '../tools/chat-output.ts';
import { planChat } from '../tools/chat-plan.ts';

export type ChatAsk = {
  readonly messages: readonly Message[];
  readonly sampling: SamplingBody;
  /** The most tokens that the caller asks for; null: what the context leaves. */
  readonly maxTokens: number | null;
  /** The caller's own name for them. */
  readonly maxTokensParam: string;
  /** Tools and thinking, in OpenAI's words. */
  readonly tools?: ToolsBody;
  /** A form of the output. */
  readonly asked?: Asked | null;
  readonly logprobs?: number | null;
};

/** When it was asked, and on which adapters. */
export type Asking = { readonly arrivedAt: number; readonly held: HeldAdapters };

export type PreparedChat = { readonly asks: readonly [Ask]; readonly reader: ChatReader };

export async function chatAsk(
  services: Services,
  { messages, sampling, maxTokens, maxTokensParam, tools = {}, asked = null, logprobs = null }: ChatAsk,
  { arrivedAt, held }: Asking,
): Promise<PreparedChat> {
  const template = await services.chatTemplates.of(held);
  const plan = planChat(template, tools, asked);
  const grammar = await compiledGrammar(services, plan.asked, sampling);
  const promptTokens = await encodeMessages(services, template, messages, plan);
  const { ends } = template;
  const route = { maxTokens, maxTokensDefault: Number.POSITIVE_INFINITY, maxTokensParam, logprobs, ends };
  const params = toSamplingParams(services, sampling, route, promptTokens.length);
  const ask = { promptTokens, params, stop: stopsOf(sampling), arrivedAt, grammar };
  return { asks: [ask], reader: chatOutput(services, plan, promptTokens) ?? plainReader };
}

/** The prompt alone, for routes that count. */
export const chatTokens = (
  services: Services,
  caller: Pick<FastifyRequest, 'tenant' | 'allowedAdapters'>,
  adapters: readonly NamedAdapter[],
  { messages, tools = {}, asked = null }: Pick<ChatAsk, 'messages' | 'tools' | 'asked'>,
): Promise<number[]> =>
  whileHeld(services, caller, adapters, async (held) => {
    const template = await services.chatTemplates.of(held);
    return encodeMessages(services, template, messages, planChat(template, tools, asked));
  });

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
