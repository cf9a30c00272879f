// POST /, /generate and /generate_stream, GET /info: text-generation-inference's routes, with LoRAX's fields for
// adapters.

import { type FastifyPluginAsyncTypebox, type TSchema, Type } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { HeldAdapters } from '../adapters/held-adapters.ts';
import { answerStream, answerWhole } from '../generation/answer.ts';
import { tgiAdapters, tgiAnswer, tgiAsk, tgiStream, tgiWriter } from '../generation/dialects/tgi.ts';
import { answerErrorsIn, tgiErrors } from '../http/error-dialects.ts';
import { packageVersion } from '../http/version.ts';
import { TgiBody } from '../schemas/tgi.ts';
import type { Services } from '../services.ts';

const tags = ['generation'];
const config = { scope: 'generate' } as const;
const failure = Type.Object({ error: Type.String(), error_type: Type.String() });
const errors = { '4xx': failure, '5xx': failure };
const whole = Type.Object({ generated_text: Type.String(), details: Type.Optional(Type.Unknown()) });
const described = (summary: string, answer: TSchema = whole) => ({
  tags,
  summary,
  body: TgiBody,
  response: {
    200: {
      description: 'The text, or events of tokens whose last one has it.',
      content: { 'application/json': { schema: answer }, 'text/event-stream': { schema: Type.Unknown() } },
    },
    ...errors,
  },
});
const info = {
  ...{ tags, summary: 'What runs here, as text-generation-inference says it' },
  response: { 200: Type.Unknown(), ...errors },
};

export const tgiRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    answerErrorsIn(app, services, tgiErrors);
    const { model, engine, limits } = services;

    const answer = async (request: FastifyRequest<{ Body: TgiBody }>, reply: FastifyReply, streams: boolean) => {
      const { body } = request;
      const order = {
        adapters: tgiAdapters(body, model.name),
        prepare: (held: HeldAdapters) => tgiAsk(services, body, { arrivedAt: request.arrivedAt, held }),
      };
      const exchange = { request, reply };
      const described = { services, body };
      if (streams) return answerStream(services, exchange, order, (stream) => tgiWriter(described, stream), tgiStream);
      const { outcomes } = await answerWhole(services, exchange, order);
      const [{ promptTokens, completionTokens, timings }] = outcomes as [(typeof outcomes)[number]];
      const { queueMs, prefillMs, decodeMs } = timings;
      reply.headers({
        'x-prompt-tokens': promptTokens,
        'x-generated-tokens': completionTokens,
        'x-queue-time': Math.round(queueMs),
        'x-inference-time': Math.round(prefillMs + decodeMs),
        'x-time-per-token': Math.round(decodeMs / Math.max(1, completionTokens)),
      });
      return tgiAnswer(described, outcomes[0]!);
    };

    const generate = described('Generate text, as text-generation-inference and LoRAX');
    app.post('/generate', { config, schema: generate }, (request, reply) => answer(request, reply, false));
    app.post('/generate_stream', { config, schema: described('The same as events') }, (request, reply) =>
      answer(request, reply, true),
    );
    app.post(
      '/',
      { config, schema: described('The same, as events with `stream`', Type.Array(whole)) },
      async (request, reply) => {
        const { stream = false } = request.body;
        const answered = await answer(request, reply, stream);
        return stream ? answered : [answered];
      },
    );

    app.get('/info', { config, schema: info }, async () => ({
      model_id: model.name,
      model_sha: model.digest,
      model_pipeline_tag: 'text-generation',
      max_concurrent_requests: limits.waitingRequests,
      max_best_of: 1,
      max_stop_sequences: limits.stopStrings,
      max_input_length: services.contextTokens() - 1,
      max_input_tokens: services.contextTokens() - 1,
      max_total_tokens: services.contextTokens(),
      max_batch_size: engine.info?.maxSequences ?? null,
      model_device_type: engine.info?.device ?? null,
      version: packageVersion,
    }));
  };
