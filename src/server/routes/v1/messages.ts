// POST /v1/messages and /v1/messages/count_tokens: Anthropic's shape, text only.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import { answerStream, answerWhole, type EventWriter, type StreamDialect } from '../../generation/answer.ts';
import { chatAsk, given } from '../../generation/dialects/chat-ask.ts';
import type { Outcome } from '../../generation/generation.ts';
import { adaptersOfModel } from '../../generation/models.ts';
import { encodeMessages } from '../../generation/prompt.ts';
import { answerErrorsIn, anthropicErrors } from '../../http/error-dialects.ts';
import { type EventStream, namedEvents } from '../../http/event-stream.ts';
import { CountBody, MessagesBody } from '../../schemas/anthropic.ts';
import type { Message } from '../../schemas/prompt.ts';
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
      const longest = { maxTokens: body.max_tokens, param: 'max_tokens' };
      const ask = chatAsk(services, turnsOf(body), sampling, longest, request.arrivedAt);
      const order = { asks: [ask], adapters: adaptersOfModel(services, body.model) };
      const id = `msg_${services.newId()}`;
      const exchange = { request, reply };
      if (body.stream) {
        const start = message(id, body, '', null, ask.promptTokens.length);
        return answerStream(services, exchange, order, (stream) => writer(stream, start, body), dialect);
      }
      const { outcomes } = await answerWhole(services, exchange, order);
      return message(id, body, outcomes[0]!.text, outcomes[0]!, ask.promptTokens.length);
    });

    app.post('/v1/messages/count_tokens', { config, schema: count }, async ({ body }) => ({
      input_tokens: encodeMessages(services, turnsOf(body)).length,
    }));
  };

function turnsOf({ system, messages }: CountBody): Message[] {
  const first: Message[] = system === undefined || system.length === 0 ? [] : [{ role: 'system', content: system }];
  return [...first, ...messages];
}

function message(id: string, body: MessagesBody, text: string, outcome: Outcome | null, inputTokens: number) {
  return {
    id,
    type: 'message',
    role: 'assistant',
    model: body.model,
    content: outcome === null ? [] : [{ type: 'text', text }],
    ...(outcome === null ? { stop_reason: null, stop_sequence: null } : ending(outcome, body)),
    usage: {
      input_tokens: inputTokens,
      output_tokens: outcome?.completionTokens ?? 0,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: outcome?.cachedTokens ?? 0,
    },
  };
}

function ending({ finishReason, byStopString }: Outcome, { stop_sequences: stops = [] }: MessagesBody) {
  if (finishReason !== 'stop') return { stop_reason: 'max_tokens', stop_sequence: null };
  if (!byStopString) return { stop_reason: 'end_turn', stop_sequence: null };
  // Of several it is not known which one came.
  return { stop_reason: 'stop_sequence', stop_sequence: stops.length === 1 ? stops[0]! : null };
}

function writer(stream: EventStream, start: object, body: MessagesBody): EventWriter {
  const send = (type: string, fields: object) => stream.send(JSON.stringify({ type, ...fields }), type);
  let isOpen = false;
  const open = () => {
    if (isOpen) return;
    isOpen = true;
    send('message_start', { message: start });
    send('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
  };
  return {
    onPiece({ text }) {
      open();
      if (text !== '') send('content_block_delta', { index: 0, delta: { type: 'text_delta', text } });
    },
    onOutcome(outcome) {
      open();
      send('content_block_stop', { index: 0 });
      const usage = { output_tokens: outcome.completionTokens };
      send('message_delta', { delta: ending(outcome, body), usage });
      send('message_stop', {});
    },
  };
}
