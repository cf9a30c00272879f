// Ollama's /api/tags, /api/version, /api/chat and /api/generate: as much as programs need that detect a server by them.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { HeldAdapters } from '../adapters/held-adapters.ts';
import { answerStream, answerWhole, type StreamDialect } from '../generation/answer.ts';
import { ollamaAsk, ollamaEnd, ollamaMessage } from '../generation/dialects/ollama.ts';
import { adaptersOfModel } from '../generation/models.ts';
import type { OutputDelta, ParsedOutput } from '../generation/tools/output-parser.ts';
import { answerErrorsIn, ollamaErrors } from '../http/error-dialects.ts';
import { jsonLines } from '../http/event-stream.ts';
import { packageVersion } from '../http/version.ts';
import { type OllamaBody, OllamaChatBody, OllamaGenerateBody } from '../schemas/ollama.ts';
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

const nothing: ParsedOutput = { content: '', reasoning: '', calls: [] };
const dialect: StreamDialect = { format: jsonLines, errorBody: ollamaErrors.body };

export const ollamaRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry, model, limits, clock } = services;
    answerErrorsIn(app, services, ollamaErrors);

    const answer = async (
      request: FastifyRequest<{ Body: OllamaBody }>,
      reply: FastifyReply,
      said: (parsed: ParsedOutput) => object,
    ) => {
      const { body } = request;
      const order = {
        adapters: adaptersOfModel(services, body.model.replace(/:latest$/, '')),
        prepare: (held: HeldAdapters) => ollamaAsk(services, body, { arrivedAt: request.arrivedAt, held }),
      };
      const exchange = { request, reply };
      const line = (parsed: ParsedOutput, more: object) => ({
        ...{ model: body.model, created_at: new Date(clock.now()).toISOString() },
        ...{ ...said(parsed), ...more },
      });
      if (body.stream !== false) {
        return answerStream(
          services,
          exchange,
          order,
          (stream, _, { reader }) => {
            const send = (parsed: ParsedOutput, more: object) => stream.send(JSON.stringify(line(parsed, more)));
            const write = (deltas: readonly OutputDelta[]) => {
              for (const delta of deltas) {
                if ('content' in delta) send({ ...nothing, content: delta.content }, { done: false });
                else if ('reasoning' in delta) send({ ...nothing, reasoning: delta.reasoning }, { done: false });
              }
            };
            return {
              onPiece: ({ text }) => write(reader.read(text, 0)),
              onOutcome(outcome) {
                write(reader.read(null, 0));
                const { calls } = reader.parse(outcome.text);
                send({ ...nothing, calls }, ollamaEnd(outcome));
              },
            };
          },
          dialect,
        );
      }
      const { outcomes, prepared } = await answerWhole(services, exchange, order);
      const outcome = outcomes[0]!;
      return line(prepared.reader.parse(outcome.text), ollamaEnd(outcome));
    };

    app.post('/api/chat', { config, schema: chat }, (request, reply) =>
      answer(request, reply, (parsed) => ({ message: ollamaMessage(parsed) })),
    );
    app.post('/api/generate', { config, schema: generate }, (request, reply) =>
      answer(request, reply, ({ content, reasoning }) => ({
        response: content,
        ...(reasoning === '' ? {} : { thinking: reasoning }),
      })),
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
