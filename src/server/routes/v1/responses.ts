// POST /v1/responses: OpenAI's Responses API without stored state, as its newer helpers and the AI SDK call it.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import type { HeldAdapters } from '../../adapters/held-adapters.ts';
import { answerStream, answerWhole } from '../../generation/answer.ts';
import { chatAsk, chatTokens, given } from '../../generation/dialects/chat-ask.ts';
import { responseWriter } from '../../generation/dialects/response-events.ts';
import { outputItems, type ResponseHead, responseJson } from '../../generation/dialects/response-object.ts';
import { chatOf, logprobsOf, refuseUnserved, responsesStream } from '../../generation/dialects/responses.ts';
import { adaptersOfModel } from '../../generation/models.ts';
import { checkUnsupported } from '../../generation/unsupported.ts';
import { epochSeconds } from '../../http/epoch-seconds.ts';
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
      const limits = { maxTokens, maxTokensParam: 'max_output_tokens', logprobs: logprobsOf(body) };
      const ask = { ...chatOf(body), sampling, ...limits };
      const order = {
        adapters: adaptersOfModel(services, body.model),
        prepare: (held: HeldAdapters) => chatAsk(services, ask, { arrivedAt: request.arrivedAt, held }),
      };
      const head: ResponseHead = {
        ...{ id: services.newId().replaceAll('-', ''), model: body.model ?? services.model.name, body },
        ...{ createdAt: epochSeconds(services.clock.now()), tokenizer: services.tokenizer },
      };
      const exchange = { request, reply };
      if (body.stream) {
        return answerStream(
          services,
          exchange,
          order,
          (stream, _, { reader }) => responseWriter(head, reader, stream),
          responsesStream,
        );
      }
      const { outcomes, prepared } = await answerWhole(services, exchange, order);
      const outcome = outcomes[0]!;
      const output = outputItems(head, prepared.reader.parse(outcome.text), outcome);
      return responseJson(head, { outcome, output });
    });

    app.post('/v1/responses/input_tokens', { config, schema: count }, async (request, reply) => {
      const { body } = request;
      refuseUnserved(body);
      checkUnsupported(body, InputTokensBody.properties, reply, 'refused');
      const { messages, tools = {}, asked = null } = chatOf(body);
      const adapters = adaptersOfModel(services, body.model);
      const tokens = await chatTokens(services, request, adapters, { messages, tools, asked });
      return { object: 'response.input_tokens' as const, input_tokens: tokens.length };
    });
  };
