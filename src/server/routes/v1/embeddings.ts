// POST /v1/embeddings: texts as vectors, from the hidden states of the base model or of an adapter.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../core/errors.ts';
import { defaultSamplingParams } from '../../../core/sampling-params.ts';
import { answerWhole } from '../../generation/answer.ts';
import { adaptersOfModel } from '../../generation/models.ts';
import { headOf, usageOf } from '../../generation/openai.ts';
import { encodePrompts, refuseLongLists } from '../../generation/prompt.ts';
import { checkUnsupported } from '../../generation/unsupported.ts';
import { EmbeddingsAnswer, EmbeddingsBody } from '../../schemas/embeddings.ts';
import { errorAnswers } from '../../schemas/error.ts';
import type { Services } from '../../services.ts';

const schema = {
  tags: ['generation'],
  summary: "Texts as vectors, OpenAI's embeddings",
  description:
    "Hidden rows of the base model, or of an adapter's, after the last norm: their mean, or with `pooling` the last " +
    'one, at length 1. A model that was trained to generate is no model that was trained to compare texts: cosines ' +
    'of such vectors are high between any two texts, and their order is what counts.',
  body: EmbeddingsBody,
  response: { 200: EmbeddingsAnswer, ...errorAnswers },
};

/** Sampling parameters of a pooled sequence, which samples nothing. */
const unsampled = {
  params: { ...defaultSamplingParams, maxTokens: 1, temperature: 0 },
  stop: { texts: [], isKept: false },
};

export const embeddingsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    // A text takes the whole context here, since nothing is generated.
    const lengths = { leaves: 0, promptsMax: services.limits.embeddingInputs };
    const preValidation = refuseLongLists(services, 'input', lengths);
    app.post('/v1/embeddings', { config: { scope: 'generate' }, schema, preValidation }, async (request, reply) => {
      const { body, arrivedAt } = request;
      checkUnsupported(body, EmbeddingsBody.properties, reply, 'refused');
      const { model, pooling = 'mean', encoding_format: format = 'float' } = body;
      const adapters = adaptersOfModel(services, model);
      checkDimensions(services, body);
      const prompts = await encodePrompts(services, body.input, 'input', { leaves: 0 });
      const asks = prompts.map((promptTokens) => ({ ...unsampled, promptTokens, arrivedAt, pooling }));
      const order = { adapters, prepare: () => ({ asks }) };
      const { outcomes } = await answerWhole(services, { request, reply }, order);
      const { model: named, system_fingerprint } = headOf(services, 'emb', 'list', model);
      const { prompt_tokens } = usageOf(outcomes, prompts.length);
      const data = outcomes.map(({ embedding }, index) => ({
        object: 'embedding' as const,
        index,
        embedding: format === 'float' ? [...embedding!] : inBase64(embedding!),
      }));
      const usage = { prompt_tokens, total_tokens: prompt_tokens };
      return { object: 'list' as const, data, model: named, pooling, system_fingerprint, usage };
    });
  };

function checkDimensions({ engine }: Services, { dimensions }: EmbeddingsBody): void {
  const own = engine.info?.shape.hidden;
  if (dimensions === undefined || own === undefined || dimensions === own) return;
  const message = `dimensions must be ${own}: vectors of this model cannot be cut.`;
  throw new LorikeetError('invalid_parameter', { message, param: 'dimensions' });
}

/** Little-endian bytes in base64, as on every platform that this runs on. */
const inBase64 = ({ buffer, byteOffset, byteLength }: Float32Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64');
