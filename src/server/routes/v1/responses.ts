// POST /v1/responses: OpenAI's responses without state, which its newer helpers and the AI SDK call.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import { answerStream, answerWhole } from '../../generation/answer.ts';
import { chatAsk, given } from '../../generation/dialects/chat-ask.ts';
import {
  messagesOf,
  type ResponseHead,
  refuseUnserved,
  responseJson,
  responsesStream,
  responseWriter,
} from '../../generation/dialects/responses.ts';
import { adaptersOfModel } from '../../generation/models.ts';
import { checkUnsupported } from '../../generation/unsupported.ts';
import { errorAnswers } from '../../schemas/error.ts';
import { ResponsesBody } from '../../schemas/responses.ts';
import type { Services } from '../../services.ts';

const schema = {
  tags: ['generation'],
  summary: "Generate the next turn, OpenAI's responses",
  description: 'Text in, text out. Nothing is stored: `previous_response_id` and tools are refused by name.',
  body: ResponsesBody,
  response: {
    200: {
      description: 'The response, or with `stream` the events that make it.',
      content: { 'application/json': { schema: Type.Unknown() }, 'text/event-stream': { schema: Type.Unknown() } },
    },
    ...errorAnswers,
  },
};

export const responsesRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post('/v1/responses', { config: { scope: 'generate' }, schema }, async (request, reply) => {
      const { body } = request;
      refuseUnserved(body);
      checkUnsupported(body, ResponsesBody.properties, reply, 'refused');
      const { temperature, top_p, seed, max_output_tokens: maxTokens = null } = body;
      const sampling = given({ temperature: temperature ?? 1, top_p, seed });
      const longest = { maxTokens, param: 'max_output_tokens' };
      const ask = chatAsk(services, messagesOf(body), sampling, longest, request.arrivedAt);
      const order = { asks: [ask], adapters: adaptersOfModel(services, body.model) };
      const id = services.newId().replaceAll('-', '');
      const head: ResponseHead = {
        ...{ id: `resp_${id}`, itemId: `msg_${id}`, model: body.model ?? services.model.name, body },
        createdAt: Math.floor(services.clock.now() / 1000),
      };
      const exchange = { request, reply };
      if (body.stream) {
        return answerStream(services, exchange, order, (stream) => responseWriter(head, stream), responsesStream);
      }
      const { outcomes } = await answerWhole(services, exchange, order);
      return responseJson(head, outcomes[0]!);
    });
  };
