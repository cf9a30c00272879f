// Turns a conversation of any interface into one sequence to generate, and counts the usage that all interfaces report.

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
  /** The most tokens that the caller asks for; null: all that fit the context. */
  readonly maxTokens: number | null;
  /** The caller's name of that field. */
  readonly maxTokensParam: string;
  /** Tools and thinking, in the terms of OpenAI's chat completions. */
  readonly tools?: ToolsBody;
  /** The form that the output must have; null or left out: any. */
  readonly asked?: Asked | null;
  readonly logprobs?: number | null;
};

/** When the request arrived, in the clock's monotonic milliseconds, and the adapters that it holds. */
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

/** Token ids of the prompt alone, for routes that count tokens. */
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

/** Drops undefined members: one that is undefined would still count as present. */
export function given<T extends object>(fields: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}

/** Token counts of one sequence. */
export const usageIn = ({ promptTokens, completionTokens, cachedTokens }: Outcome) => ({
  input: promptTokens,
  output: completionTokens,
  cached: cachedTokens,
});
