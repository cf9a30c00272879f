// POST /v1/completions: OpenAI's older route, which takes raw prompts, and several at once.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../core/errors.ts';
import { answerStream, answerWhole } from '../../generation/answer.ts';
import type { Ask, Outcome } from '../../generation/generation.ts';
import { completionLogprobs } from '../../generation/logprobs.ts';
import { adaptersOfModel } from '../../generation/models.ts';
import {
  type ChunkShape,
  checkStreamOptions,
  chunkWriter,
  headOf,
  includesUsage,
  usageOf,
} from '../../generation/openai.ts';
import { encodePrompts, refuseLongLists } from '../../generation/prompt.ts';
import { paramsOfChoices, stopsOf, toSamplingParams } from '../../generation/sampling.ts';
import { compiledGrammar, structureOf } from '../../generation/structured-output.ts';
import { checkUnsupported } from '../../generation/unsupported.ts';
import { CompletionsAnswer, CompletionsBody, completionsMaxTokens } from '../../schemas/completions.ts';
import { eventOf } from '../../schemas/describe.ts';
import { errorAnswers } from '../../schemas/error.ts';
import type { Services } from '../../services.ts';

const schema = {
  tags: ['generation'],
  summary: "Generate text, OpenAI's completions",
  body: CompletionsBody,
  response: {
    200: {
      description: 'The whole answer, or with `stream` chunks of the same shape and `[DONE]`.',
      content: {
        'application/json': { schema: CompletionsAnswer },
        'text/event-stream': { schema: eventOf(CompletionsAnswer) },
      },
    },
    ...errorAnswers,
  },
};

export const completionsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const preValidation = refuseLongLists(services, 'prompt', { promptsMax: services.limits.prompts });
    app.post('/v1/completions', { config: { scope: 'generate' }, schema, preValidation }, async (request, reply) => {
      const { body } = request;
      checkUnsupported(body, CompletionsBody.properties, reply);
      const adapters = adaptersOfModel(services, body.model);
      checkStreamOptions(body);
      const grammar = await compiledGrammar(services, structureOf(body), body);
      const prompts = await toPrompts(services, body);
      const n = body.n ?? 1;
      const bestOf = bestOfBody(body);
      const asks = prompts
        .flatMap((promptTokens) => toAsks(services, body, promptTokens, request.arrivedAt))
        .map((ask) => ({ ...ask, grammar }));
      const head = headOf(services, 'cmpl', 'text_completion', body.model);
      const order = { adapters, prepare: () => ({ asks }) };
      if (body.stream) {
        return answerStream(services, { request, reply }, order, (stream) => {
          return chunkWriter(stream, head, textChunks(services, asks.length), includesUsage(body), prompts.length);
        });
      }
      const generated = await answerWhole(services, { request, reply }, order);
      const outcomes = body.max_tokens === 0 ? generated.outcomes.map(withoutOutput) : generated.outcomes;
      const best = prompts.flatMap((prompt, i) =>
        mostLikely(outcomes.slice(i * bestOf, (i + 1) * bestOf), n).map((outcome) => ({ outcome, prompt })),
      );
      const choices = best.map(({ outcome, prompt }, index) => ({
        index,
        ...(body.echo ? echoed(services, body, outcome, prompt) : told(services, body, outcome)),
        finish_reason: outcome.finishReason,
      }));
      return { ...head, choices, usage: usageOf(outcomes, prompts.length) };
    });
  };

async function toPrompts(
  services: Services,
  { prompt, n = 1, best_of: choices = n }: CompletionsBody,
): Promise<number[][]> {
  const isList = Array.isArray(prompt) && typeof prompt[0] !== 'number';
  if (isList && prompt.length * choices > services.limits.prompts) {
    const message = `${prompt.length} prompts with ${choices} choices each are more than ${services.limits.prompts}.`;
    throw new LorikeetError('invalid_parameter', { message, param: 'n' });
  }
  return encodePrompts(services, prompt, 'prompt');
}

/** Number of choices to generate for each prompt. Throws for values that exclude each other. */
function bestOfBody({ n = 1, best_of: bestOf = n, stream, echo, max_tokens: maxTokens }: CompletionsBody): number {
  const refuse = (message: string, param: string) => new LorikeetError('invalid_parameter', { message, param });
  if (bestOf < n) throw refuse(`best_of (${bestOf}) must be at least n (${n}).`, 'best_of');
  if (stream && bestOf > n) throw refuse('best_of above n is not possible in a stream.', 'best_of');
  if (stream && echo) throw refuse('echo is not possible in a stream.', 'echo');
  if (maxTokens === 0 && !echo) throw refuse('max_tokens 0 needs echo: there would be no text.', 'max_tokens');
  return bestOf;
}

/** The outcome without the one token that the engine generates even where a prompt is only scored. */
const withoutOutput = (outcome: Outcome): Outcome => ({
  ...{ ...outcome, text: '', positions: [], completionTokens: 0 },
  finishReason: 'length',
});

/**
 * The `n` choices with the highest mean log-probability, best first; all in their order where there are no more than n.
 */
function mostLikely(choices: readonly Outcome[], n: number): readonly Outcome[] {
  if (choices.length <= n) return choices;
  const meanOf = ({ positions }: Outcome) =>
    positions.reduce((sum, { logprobs }) => sum + logprobs.logprob, 0) / Math.max(1, positions.length);
  return choices.toSorted((a, b) => meanOf(b) - meanOf(a)).slice(0, n);
}

function told({ tokenizer }: Services, body: CompletionsBody, { text, positions }: Outcome) {
  return { text, logprobs: body.logprobs === undefined ? null : completionLogprobs(tokenizer)(positions) };
}

/**
 * The choice with its prompt before the text, and the prompt's log-probabilities before those of the generated tokens.
 */
function echoed({ tokenizer }: Services, body: CompletionsBody, outcome: Outcome, prompt: readonly number[]) {
  const given = prompt.map((token, i) => ({ token, logprobs: outcome.promptLogprobs?.[i] ?? null }));
  const logprobs = body.logprobs === undefined ? null : completionLogprobs(tokenizer)([...given, ...outcome.positions]);
  return { text: tokenizer.decode(prompt) + outcome.text, logprobs };
}

function toAsks(services: Services, body: CompletionsBody, promptTokens: number[], arrivedAt: number): Ask[] {
  const route = {
    // A prompt that is only scored needs no output, but the engine generates at least one token.
    maxTokens: body.max_tokens === 0 ? 1 : (body.max_tokens ?? null),
    maxTokensDefault: completionsMaxTokens,
    maxTokensParam: 'max_tokens',
    logprobs: body.logprobs ?? ((body.best_of ?? 1) > (body.n ?? 1) ? 0 : null),
  };
  const promptLogprobs = body.echo && body.logprobs !== undefined ? { promptLogprobs: body.logprobs } : {};
  const params = toSamplingParams(services, body, route, promptTokens.length);
  const stop = stopsOf(body);
  return paramsOfChoices(params, body.best_of ?? body.n ?? 1).map((params) => ({
    promptTokens,
    params,
    stop,
    arrivedAt,
    ...promptLogprobs,
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
