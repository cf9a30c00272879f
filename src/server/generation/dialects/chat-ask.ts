// A conversation in any interface's words -> one sequence to generate, and what every interface tells of its end.

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

export async function chatAsk(
  services: Services,
  { messages, sampling, maxTokens, maxTokensParam, tools = {}, asked = null, logprobs = null }: ChatAsk,
  arrivedAt: number,
): Promise<{ ask: Ask; reader: ChatReader }> {
  const plan = planChat(services, tools, asked);
  const grammar = await compiledGrammar(services, plan.asked, sampling);
  const promptTokens = encodeMessages(services, messages, plan);
  const route = { maxTokens, maxTokensDefault: Number.POSITIVE_INFINITY, maxTokensParam, logprobs };
  const params = toSamplingParams(services, sampling, route, promptTokens.length);
  const ask = { promptTokens, params, stop: stopsOf(sampling), arrivedAt, grammar };
  return { ask, reader: chatOutput(services, plan, promptTokens) ?? plainReader };
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
