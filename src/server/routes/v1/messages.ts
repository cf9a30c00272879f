// POST /v1/messages and /v1/messages/count_tokens: Anthropic's Messages API.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import type { HeldAdapters } from '../../adapters/held-adapters.ts';
import { answerStream, answerWhole, type StreamDialect } from '../../generation/answer.ts';
import { anthropicMessage, anthropicWriter, chatOfMessages } from '../../generation/dialects/anthropic.ts';
import { chatAsk, chatTokens, given, type PreparedChat } from '../../generation/dialects/chat-ask.ts';
import { adaptersOfModel } from '../../generation/models.ts';
import { answerErrorsIn, anthropicErrors } from '../../http/error-dialects.ts';
import { namedEvents } from '../../http/event-stream.ts';
import { CountBody, MessagesBody } from '../../schemas/anthropic.ts';
import type { Services } from '../../services.ts';

const failure = Type.Object({
  type: Type.Literal('error'),
  error: Type.Object({ type: Type.String(), message: Type.String() }),
});
const errors = { '4xx': failure, '5xx': failure };
const schema = {
  tags: ['generation'],
  summary: "Generate the next turn, Anthropic's messages",
  body: MessagesBody,
  response: {
    200: {
      description: 'The message, or with `stream` the events that make it.',
      content: { 'application/json': { schema: Type.Unknown() }, 'text/event-stream': { schema: Type.Unknown() } },
    },
    ...errors,
  },
};
const count = {
  tags: ['generation'],
  summary: 'Count the tokens of a conversation',
  body: CountBody,
  response: { 200: Type.Object({ input_tokens: Type.Integer() }), ...errors },
};

const dialect: StreamDialect = { format: namedEvents, errorBody: anthropicErrors.body };

export const messagesRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    answerErrorsIn(app, services, anthropicErrors);
    const config = { scope: 'generate' } as const;

    app.post('/v1/messages', { config, schema }, async (request, reply) => {
      const { body } = request;
      const { temperature, top_p, top_k, stop_sequences: stop } = body;
      const sampling = given({ temperature: temperature ?? 1, top_p, top_k, stop });
      const ask = { ...chatOfMessages(body), sampling, maxTokens: body.max_tokens, maxTokensParam: 'max_tokens' };
      const order = {
        adapters: adaptersOfModel(services, body.model),
        prepare: (held: HeldAdapters) => chatAsk(services, ask, { arrivedAt: request.arrivedAt, held }),
      };
      const id = `msg_${services.newId()}`;
      const named = ({ asks: [{ promptTokens }] }: PreparedChat) => ({ id, body, inputTokens: promptTokens.length });
      const exchange = { request, reply };
      if (body.stream) {
        return answerStream(
          services,
          exchange,
          order,
          (stream, _, prepared) => anthropicWriter(named(prepared), prepared.reader, stream),
          dialect,
        );
      }
      const { outcomes, prepared } = await answerWhole(services, exchange, order);
      const outcome = outcomes[0]!;
      return anthropicMessage(named(prepared), { outcome, parsed: prepared.reader.parse(outcome.text) });
    });

    app.post('/v1/messages/count_tokens', { config, schema: count }, async (request) => {
      const { messages, tools = {}, asked = null } = chatOfMessages(request.body);
      const adapters = adaptersOfModel(services, request.body.model);
      const tokens = await chatTokens(services, request, adapters, { messages, tools, asked });
      return { input_tokens: tokens.length };
    });
  };
