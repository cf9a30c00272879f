// Ollama's /api/tags, /api/version, /api/chat and /api/generate, thin: enough for programs that know a server by them.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { answerStream, answerWhole, type StreamDialect } from '../generation/answer.ts';
import { chatAsk, given } from '../generation/dialects/chat-ask.ts';
import type { Ask, Outcome } from '../generation/generation.ts';
import { adaptersOfModel } from '../generation/models.ts';
import { encodePrompt } from '../generation/prompt.ts';
import { stopsOf, toSamplingParams } from '../generation/sampling.ts';
import { answerErrorsIn, ollamaErrors } from '../http/error-dialects.ts';
import { jsonLines } from '../http/event-stream.ts';
import { packageVersion } from '../http/version.ts';
import { type OllamaBody, OllamaChatBody, OllamaGenerateBody } from '../schemas/ollama.ts';
import type { Message } from '../schemas/prompt.ts';
import type { Services } from '../services.ts';

const tags = ['generation'];
const config = { scope: 'generate' } as const;
const failure = Type.Object({ error: Type.String() });
const errors = { '4xx': failure, '5xx': failure };
const lines = {
  description: 'The whole answer, or unless `stream` is false a line of JSON for each piece.',
  content: { 'application/json': { schema: Type.Unknown() }, 'application/x-ndjson': { schema: Type.Unknown() } },
};
const chat = { tags, summary: "Ollama's chat", body: OllamaChatBody, response: { 200: lines, ...errors } };
const generate = { tags, summary: "Ollama's generate", body: OllamaGenerateBody, response: { 200: lines, ...errors } };
const list = { tags, summary: "Ollama's list of models", response: { 200: Type.Unknown(), ...errors } };
const version = { tags, summary: 'The version', response: { 200: Type.Unknown(), ...errors } };

const dialect: StreamDialect = { format: jsonLines, errorBody: ollamaErrors.body };

export const ollamaRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry, model, limits, clock } = services;
    answerErrorsIn(app, services, ollamaErrors);

    const answer = async (
      request: FastifyRequest<{ Body: OllamaBody }>,
      reply: FastifyReply,
      said: (text: string) => object,
    ) => {
      const { body } = request;
      const order = {
        asks: [askOf(services, body, request.arrivedAt)],
        adapters: adaptersOfModel(services, body.model.replace(/:latest$/, '')),
      };
      const exchange = { request, reply };
      const line = (text: string, more: object) => ({
        ...{ model: body.model, created_at: new Date(clock.now()).toISOString() },
        ...{ ...said(text), ...more },
      });
      if (body.stream !== false) {
        return answerStream(
          services,
          exchange,
          order,
          (stream) => ({
            onPiece({ text }) {
              if (text !== '') stream.send(JSON.stringify(line(text, { done: false })));
            },
            onOutcome: (outcome) => stream.send(JSON.stringify(line('', endOf(outcome)))),
          }),
          dialect,
        );
      }
      const { outcomes } = await answerWhole(services, exchange, order);
      return line(outcomes[0]!.text, endOf(outcomes[0]!));
    };

    app.post('/api/chat', { config, schema: chat }, (request, reply) =>
      answer(request, reply, (content) => ({ message: { role: 'assistant', content } })),
    );
    app.post('/api/generate', { config, schema: generate }, (request, reply) =>
      answer(request, reply, (response) => ({ response })),
    );
    app.get('/api/version', { config: { scope: 'none' }, schema: { ...version, security: [] } }, async () => ({
      version: packageVersion,
    }));
    app.get('/api/tags', { config, schema: list }, async ({ tenant }) => {
      const adapters = await registry.list(tenant, { after: null, limit: limits.listPage });
      const entry = (name: string, digest: string, at: number, size: number) => ({
        ...{ name, model: name, modified_at: new Date(at).toISOString(), size, digest: digest.replace('sha256:', '') },
        details: { format: 'lorikeet', family: '', parameter_size: '', quantization_level: '' },
      });
      const own = adapters.map(({ name, digest, createdAt, bytes }) => entry(name, digest, createdAt, bytes));
      return { models: [entry(model.name, model.digest, model.createdAt, 0), ...own] };
    });
  };

function askOf(services: Services, body: OllamaBody, arrivedAt: number): Ask {
  const { num_predict = -1, repeat_penalty: repetition_penalty, num_ctx: _, ...options } = body.options ?? {};
  const sampling = given({ ...options, repetition_penalty });
  const maxTokens = num_predict > 0 ? num_predict : null;
  const longest = { maxTokens, param: 'options.num_predict' };
  if ('messages' in body) return chatAsk(services, body.messages, sampling, longest, arrivedAt);
  const { prompt, system, raw } = body;
  const first: Message[] = system === undefined ? [] : [{ role: 'system', content: system }];
  if (!raw) return chatAsk(services, [...first, { role: 'user', content: prompt }], sampling, longest, arrivedAt);
  const promptTokens = encodePrompt(services, prompt, 'prompt');
  const route = {
    maxTokens,
    maxTokensDefault: Number.POSITIVE_INFINITY,
    maxTokensParam: longest.param,
    logprobs: null,
  };
  const params = toSamplingParams(services, sampling, route, promptTokens.length);
  return { promptTokens, params, stop: stopsOf(sampling), arrivedAt };
}

/** Durations in nanoseconds. */
function endOf({ finishReason, promptTokens, completionTokens, timings }: Outcome) {
  const nanoseconds = (ms: number) => Math.round(ms * 1e6);
  const { queueMs, prefillMs, decodeMs } = timings;
  return {
    done: true,
    done_reason: finishReason === 'length' ? 'length' : 'stop',
    total_duration: nanoseconds(queueMs + prefillMs + decodeMs),
    load_duration: nanoseconds(queueMs),
    prompt_eval_count: promptTokens,
    prompt_eval_duration: nanoseconds(prefillMs),
    eval_count: completionTokens,
    eval_duration: nanoseconds(decodeMs),
  };
}
