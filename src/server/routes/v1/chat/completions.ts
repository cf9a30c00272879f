// POST /v1/chat/completions: OpenAI's chat completions, through the chat template.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../../core/errors.ts';
import type { HeldAdapters } from '../../../adapters/held-adapters.ts';
import { answerStream, answerWhole } from '../../../generation/answer.ts';
import type { Asking } from '../../../generation/dialects/chat-ask.ts';
import type { Ask, Outcome } from '../../../generation/generation.ts';
import { chatLogprobs } from '../../../generation/logprobs.ts';
import { adaptersOfModel } from '../../../generation/models.ts';
import {
  type ChunkShape,
  checkStreamOptions,
  chunkWriter,
  headOf,
  includesUsage,
  usageOf,
} from '../../../generation/openai.ts';
import { encodeMessages } from '../../../generation/prompt.ts';
import { paramsOfChoices, stopsOf, toSamplingParams } from '../../../generation/sampling.ts';
import { compiledGrammar, structureOf } from '../../../generation/structured-output.ts';
import { type ChatOutput, chatOutput } from '../../../generation/tools/chat-output.ts';
import { planChat } from '../../../generation/tools/chat-plan.ts';
import { checkMessages, checkUnsupported } from '../../../generation/unsupported.ts';
import { ChatAnswer, ChatBody, ChatChunk } from '../../../schemas/chat.ts';
import { eventOf } from '../../../schemas/describe.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import type { Services } from '../../../services.ts';

const schema = {
  tags: ['generation'],
  summary: "Generate the next turn, OpenAI's chat completions",
  body: ChatBody,
  response: {
    200: {
      description: 'The whole answer, or with `stream` chunks and `[DONE]`.',
      content: { 'application/json': { schema: ChatAnswer }, 'text/event-stream': { schema: eventOf(ChatChunk) } },
    },
    ...errorAnswers,
  },
};

export const chatCompletionsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post('/v1/chat/completions', { config: { scope: 'generate' }, schema }, async (request, reply) => {
      const { body } = request;
      checkUnsupported(body, ChatBody.properties, reply);
      checkMessages(body.messages);
      const adapters = adaptersOfModel(services, body.model);
      checkStreamOptions(body);
      const order = {
        adapters,
        prepare: (held: HeldAdapters) => prepare(services, body, { arrivedAt: request.arrivedAt, held }),
      };
      if (body.stream) {
        const head = headOf(services, 'chatcmpl', 'chat.completion.chunk', body.model);
        return answerStream(services, { request, reply }, order, (stream, _, { output }) =>
          chunkWriter(stream, head, deltaChunks(services, output), includesUsage(body), 1),
        );
      }
      const head = headOf(services, 'chatcmpl', 'chat.completion', body.model);
      const { outcomes, prepared } = await answerWhole(services, { request, reply }, order);
      const choices = outcomes.map((outcome, index) => ({
        index,
        ...(prepared.output?.message(outcome) ?? plainMessage(outcome)),
        logprobs: body.logprobs ? chatLogprobs(services.tokenizer, outcome.positions) : null,
      }));
      return { ...head, choices, usage: usageOf(outcomes, 1) };
    });
  };

async function prepare(
  services: Services,
  body: ChatBody,
  { arrivedAt, held }: Asking,
): Promise<{ asks: Ask[]; output: ChatOutput | null }> {
  const template = await services.chatTemplates.of(held);
  const plan = planChat(template, body, structureOf(body));
  const grammar = await compiledGrammar(services, plan.asked, body);
  const promptTokens = await encodeMessages(services, template, body.messages, plan);
  const asks = toAsks(services, body, { promptTokens, ends: template.ends });
  return {
    asks: asks.map((ask) => ({ ...ask, arrivedAt, grammar })),
    output: chatOutput(services, plan, promptTokens),
  };
}

const plainMessage = ({ text, finishReason }: Outcome) => ({
  message: { role: 'assistant' as const, content: text, refusal: null },
  finish_reason: finishReason,
});

type Prompt = { readonly promptTokens: readonly number[]; readonly ends: readonly number[] };

function toAsks(services: Services, body: ChatBody, { promptTokens, ends }: Prompt): Omit<Ask, 'arrivedAt'>[] {
  if (body.top_logprobs && !body.logprobs) {
    const message = 'top_logprobs needs logprobs.';
    throw new LorikeetError('invalid_parameter', { message, param: 'top_logprobs' });
  }
  const route = {
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? null,
    maxTokensDefault: Number.POSITIVE_INFINITY,
    maxTokensParam: body.max_completion_tokens === undefined ? 'max_tokens' : 'max_completion_tokens',
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : null,
    ends,
  };
  const params = toSamplingParams(services, body, route, promptTokens.length);
  const stop = stopsOf(body);
  return paramsOfChoices(params, body.n ?? 1).map((params) => ({ promptTokens, params, stop }));
}

const deltaChunks = ({ tokenizer }: Services, output: ChatOutput | null): ChunkShape => ({
  ...output?.chunks,
  first: '"delta":{"role":"assistant","content":""},"logprobs":null',
  piece({ token, text, logprobs }) {
    const positions = token === null || logprobs === null ? null : [{ token, logprobs }];
    const shaped = positions === null ? 'null' : JSON.stringify(chatLogprobs(tokenizer, positions));
    return `"delta":{"content":${JSON.stringify(text)}},"logprobs":${shaped}`;
  },
  last: '"delta":{},"logprobs":null',
});
