// POST /v1/completions: OpenAI's older shape, which takes raw prompts and several at once.

import { setImmediate } from 'node:timers/promises';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../core/errors.ts';
import { answerStream, answerWhole } from '../../answer.ts';
import type { Ask } from '../../generation.ts';
import { completionLogprobs } from '../../logprobs.ts';
import { adaptersOfModel } from '../../models.ts';
import { type ChunkShape, checkStreamOptions, chunkWriter, headOf, includesUsage, usageOf } from '../../openai.ts';
import { encodePrompt } from '../../prompt.ts';
import { paramsOfChoices, stopsOf, toSamplingParams } from '../../sampling.ts';
import { CompletionsAnswer, CompletionsBody, completionsMaxTokens } from '../../schemas/completions.ts';
import { errorAnswers } from '../../schemas/error.ts';
import type { Services } from '../../services.ts';
import { checkUnsupported } from '../../unsupported.ts';

const schema = {
  tags: ['generation'],
  summary: "Generate text, OpenAI's completions",
  body: CompletionsBody,
  response: {
    200: {
      description: 'The whole answer, or with `stream` chunks of the same shape and `[DONE]`.',
      content: {
        'application/json': { schema: CompletionsAnswer },
        'text/event-stream': { schema: CompletionsAnswer },
      },
    },
    ...errorAnswers,
  },
};

export const completionsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post('/v1/completions', { config: { scope: 'generate' }, schema }, async (request, reply) => {
      const { body } = request;
      checkUnsupported(body, CompletionsBody.properties, reply);
      const adapters = adaptersOfModel(services, body.model);
      checkStreamOptions(body);
      const prompts = await toPrompts(services, body);
      const asks = prompts.flatMap((promptTokens) => toAsks(services, body, promptTokens, request.arrivedAt));
      const head = headOf(services, 'cmpl', 'text_completion', body.model);
      if (body.stream) {
        return answerStream(services, { request, reply }, { asks, adapters }, (stream) => {
          return chunkWriter(stream, head, textChunks(services, asks.length), includesUsage(body), prompts.length);
        });
      }
      const { outcomes } = await answerWhole(services, { request, reply }, { asks, adapters });
      const choices = outcomes.map(({ text, positions, finishReason }, index) => ({
        index,
        text,
        logprobs: body.logprobs === undefined ? null : completionLogprobs(services.tokenizer)(positions),
        finish_reason: finishReason,
      }));
      return { ...head, choices, usage: usageOf(outcomes, prompts.length) };
    });
  };

/** One prompt or several, each text or token ids: `[1, 2]` is one prompt, `[[1, 2]]` and `['a']` are lists of them. */
async function toPrompts(services: Services, { prompt, n = 1 }: CompletionsBody): Promise<number[][]> {
  const isList = Array.isArray(prompt) && typeof prompt[0] !== 'number';
  if (!isList) return [encodePrompt(services, prompt as string | number[], 'prompt')];
  if (prompt.length * n > services.limits.prompts) {
    const message = `${prompt.length} prompts with ${n} choices each are more than ${services.limits.prompts}.`;
    throw new LorikeetError('invalid_parameter', { message, param: 'n' });
  }
  const prompts: number[][] = [];
  for (const [i, entry] of (prompt as (string | number[])[]).entries()) {
    prompts.push(encodePrompt(services, entry, `prompt[${i}]`));
    // Tokenising many long prompts takes long; the streams of others go on in between.
    await setImmediate();
  }
  return prompts;
}

function toAsks(services: Services, body: CompletionsBody, promptTokens: number[], arrivedAt: number): Ask[] {
  const route = {
    maxTokens: body.max_tokens ?? null,
    maxTokensDefault: completionsMaxTokens,
    maxTokensParam: 'max_tokens',
    logprobs: body.logprobs ?? null,
  };
  const params = toSamplingParams(services, body, route, promptTokens.length);
  const stop = stopsOf(body);
  return paramsOfChoices(params, body.n ?? 1).map((params) => ({
    promptTokens,
    params,
    stop,
    arrivedAt,
  }));
}

function textChunks({ tokenizer }: Services, choices: number): ChunkShape {
  const logprobsOf = Array.from({ length: choices }, () => completionLogprobs(tokenizer));
  return {
    first: null,
    piece({ token, text, logprobs }, choice) {
      const positions = token === null || logprobs === null ? null : [{ token, logprobs }];
      const shaped = positions === null ? 'null' : JSON.stringify(logprobsOf[choice]!(positions));
      return `"text":${JSON.stringify(text)},"logprobs":${shaped}`;
    },
    last: '"text":"","logprobs":null',
  };
}
