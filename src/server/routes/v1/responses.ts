// POST /v1/responses: OpenAI's responses without state, which its newer helpers and the AI SDK call.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import { answerStream, answerWhole } from '../../generation/answer.ts';
import { chatAsk, given } from '../../generation/dialects/chat-ask.ts';
import { responseWriter } from '../../generation/dialects/response-events.ts';
import { outputItems, type ResponseHead, responseJson } from '../../generation/dialects/response-object.ts';
import { chatOf, logprobsOf, refuseUnserved, responsesStream } from '../../generation/dialects/responses.ts';
import { adaptersOfModel } from '../../generation/models.ts';
import { encodeMessages } from '../../generation/prompt.ts';
import { planChat } from '../../generation/tools/chat-plan.ts';
import { checkUnsupported } from '../../generation/unsupported.ts';
import { errorAnswers } from '../../schemas/error.ts';
import { InputTokensBody, ResponsesBody } from '../../schemas/responses.ts';
import type { Services } from '../../services.ts';

const tags = ['generation'];
const config = { scope: 'generate' } as const;
const schema = {
  tags,
  summary: "Generate the next turn, OpenAI's responses",
  description:
    'Text, tools and JSON. Nothing is stored: `previous_response_id` and `conversation` are refused by name.',
  body: ResponsesBody,
  response: {
    200: {
      description: 'The response, or with `stream` the events that make it.',
      content: { 'application/json': { schema: Type.Unknown() }, 'text/event-stream': { schema: Type.Unknown() } },
    },
    ...errorAnswers,
  },
};
const count = {
  tags,
  summary: 'Count the tokens of an input',
  body: InputTokensBody,
  response: {
    200: Type.Object({ object: Type.Literal('response.input_tokens'), input_tokens: Type.Integer() }),
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
      const { ask, reader } = await chatAsk(
        services,
        { ...chatOf(body), sampling, maxTokens, maxTokensParam: 'max_output_tokens', logprobs: logprobsOf(body) },
        request.arrivedAt,
      );
      const order = { asks: [ask], adapters: adaptersOfModel(services, body.model) };
      const head: ResponseHead = {
        ...{ id: services.newId().replaceAll('-', ''), model: body.model ?? services.model.name, body },
        ...{ createdAt: Math.floor(services.clock.now() / 1000), tokenizer: services.tokenizer },
      };
      const exchange = { request, reply };
      if (body.stream) {
        return answerStream(
          services,
          exchange,
          order,
          (stream) => responseWriter(head, reader, stream),
          responsesStream,
        );
      }
      const [outcome] = (await answerWhole(services, exchange, order)).outcomes;
      return responseJson(head, {
        outcome: outcome!,
        output: outputItems(head, reader.parse(outcome!.text), outcome!),
      });
    });

    app.post('/v1/responses/input_tokens', { config, schema: count }, async ({ body }, reply) => {
      refuseUnserved(body);
      checkUnsupported(body, InputTokensBody.properties, reply, 'refused');
      const { messages, tools = {}, asked = null } = chatOf(body);
      const tokens = encodeMessages(services, messages, planChat(services, tools, asked));
      return { object: 'response.input_tokens' as const, input_tokens: tokens.length };
    });
  };
