// POST /v1/generate: this server's own route, with everything that the engine reports.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../core/errors.ts';
import { defaultSamplingParams } from '../../../core/sampling-params.ts';
import type { HeldAdapters } from '../../adapters/held-adapters.ts';
import { answerStream, answerWhole, type EventWriter } from '../../generation/answer.ts';
import type { Asking } from '../../generation/dialects/chat-ask.ts';
import type { Ask, Outcome, Piece } from '../../generation/generation.ts';
import { alternatives, generateLogprobs } from '../../generation/logprobs.ts';
import { adaptersOfBody } from '../../generation/models.ts';
import { encodeMessages, encodePrompt, refuseLongLists } from '../../generation/prompt.ts';
import { stopsOf, toSamplingParams } from '../../generation/sampling.ts';
import { compiledGrammar, structureOf } from '../../generation/structured-output.ts';
import type { EventStream } from '../../http/event-stream.ts';
import { eventOf, oneOfFields } from '../../schemas/describe.ts';
import { errorAnswers } from '../../schemas/error.ts';
import {
  GenerateAnswer as AnswerSchema,
  type GenerateAnswer,
  GenerateBody,
  TokenEvent,
} from '../../schemas/generate.ts';
import type { Services } from '../../services.ts';

const schema = {
  tags: ['generation'],
  summary: 'Generate text',
  description: 'Takes text, token ids or messages. Unknown fields are refused; null means absent.',
  body: GenerateBody,
  response: {
    200: {
      description: 'The whole answer, or with `stream` a token at a time, then the whole answer, then `[DONE]`.',
      content: { 'application/json': { schema: AnswerSchema }, 'text/event-stream': { schema: eventOf(TokenEvent) } },
    },
    ...errorAnswers,
  },
};

export const generateRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/v1/generate',
      {
        config: { scope: 'generate', describe: oneOfFields('prompt', 'messages') },
        schema,
        preValidation: refuseLongLists(services, 'prompt'),
      },
      async (request, reply) => {
        const { body } = request;
        const order = {
          adapters: adaptersOfBody(body),
          async prepare(held: HeldAdapters) {
            const grammar = await compiledGrammar(services, structureOf(body), body);
            return { asks: [{ ...(await toAsk(services, body, { arrivedAt: request.arrivedAt, held })), grammar }] };
          },
        };
        const id = `gen-${services.newId()}`;
        const withLogprobs = (body.logprobs ?? null) !== null;
        if (body.stream) {
          return answerStream(services, { request, reply }, order, (stream, held) =>
            writer(services, stream, toAnswer(services, id, held, withLogprobs)),
          );
        }
        const { outcomes, held } = await answerWhole(services, { request, reply }, order);
        return toAnswer(services, id, held, withLogprobs)(outcomes[0]!);
      },
    );
  };

async function toAsk(services: Services, body: GenerateBody, { arrivedAt, held }: Asking): Promise<Ask> {
  const { promptTokens, ends } = await toPrompt(services, body, held);
  const route = {
    maxTokens: body.max_tokens ?? null,
    maxTokensDefault: defaultSamplingParams.maxTokens,
    maxTokensParam: 'max_tokens',
    logprobs: body.logprobs ?? null,
    ends,
  };
  return {
    promptTokens,
    params: toSamplingParams(services, body, route, promptTokens.length),
    stop: stopsOf(body),
    arrivedAt,
    usesMerge: body.use_merge ?? true,
  };
}

type Prompt = { readonly promptTokens: number[]; readonly ends: readonly number[] };

async function toPrompt(services: Services, { prompt, messages }: GenerateBody, held: HeldAdapters): Promise<Prompt> {
  if (prompt !== undefined && messages !== undefined) {
    const message = 'prompt and messages exclude each other.';
    throw new LorikeetError('invalid_parameter', { message, param: 'messages' });
  }
  if (messages !== undefined) {
    const template = await services.chatTemplates.of(held);
    return { promptTokens: await encodeMessages(services, template, messages), ends: template.ends };
  }
  if (prompt !== undefined) return { promptTokens: encodePrompt(services, prompt, 'prompt'), ends: [] };
  throw new LorikeetError('missing_parameter', { message: 'prompt or messages is required.', param: 'prompt' });
}

function toAnswer({ model, tokenizer }: Services, id: string, held: HeldAdapters, withLogprobs: boolean) {
  const adapters = held.adapters.map(({ adapter: { name, version, digest }, scale }) => {
    return { name, version, digest, scale };
  });
  return (outcome: Outcome): GenerateAnswer => ({
    id,
    model: model.name,
    ...adapterFields(adapters, outcome),
    text: outcome.text,
    finish_reason: outcome.finishReason,
    usage: {
      prompt_tokens: outcome.promptTokens,
      completion_tokens: outcome.completionTokens,
      cached_tokens: outcome.cachedTokens,
    },
    timings: {
      queue_ms: toMicros(outcome.timings.queueMs),
      prefill_ms: toMicros(outcome.timings.prefillMs),
      decode_ms: toMicros(outcome.timings.decodeMs),
    },
    ...(withLogprobs ? { logprobs: generateLogprobs(tokenizer, outcome.positions) } : {}),
  });
}

type Applied = Omit<NonNullable<GenerateAnswer['adapters']>[number], 'merged_bits'>;

function adapterFields(
  applied: readonly Applied[],
  { mergedBits: merged_bits }: Outcome,
): Pick<GenerateAnswer, 'adapter' | 'adapters'> {
  const adapters = applied.map((one) => ({ ...one, merged_bits }));
  const [first] = adapters;
  if (first === undefined) return { adapter: null };
  if (adapters.length > 1) return { adapter: null, adapters };
  const { scale: _, ...adapter } = first;
  return { adapter };
}

/** Rounds milliseconds to whole microseconds: further digits are noise. */
const toMicros = (ms: number) => Math.round(ms * 1000) / 1000;

function writer(
  { tokenizer }: Services,
  stream: EventStream,
  shape: (outcome: Outcome) => GenerateAnswer,
): EventWriter {
  return {
    onPiece({ token, text, logprobs }: Piece) {
      const logprob = JSON.stringify(logprobs?.logprob ?? null);
      const top = logprobs?.top.length ? `,"top":${JSON.stringify(alternatives(tokenizer, logprobs))}` : '';
      stream.send(`{"token":{"id":${token},"text":${JSON.stringify(text)},"logprob":${logprob}${top}}}`);
    },
    onOutcome: (outcome) => stream.send(JSON.stringify(shape(outcome))),
  };
}
