// vLLM's POST /tokenize and /detokenize, GET /tokenizer_info, for tools that count and cut text by the model's tokens.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../core/errors.ts';
import { chatTokens } from '../generation/dialects/chat-ask.ts';
import { adaptersOfModel } from '../generation/models.ts';
import { encodePrompt, refuseLongLists } from '../generation/prompt.ts';
import { errorAnswers } from '../schemas/error.ts';
import { Messages, TokenIds } from '../schemas/prompt.ts';
import type { Services } from '../services.ts';

const tags = ['generation'];
const config = { scope: 'generate' } as const;
const model = Type.Optional(
  Type.String({
    description: "Adapters share the base model's tokens; messages go through the chat template that they would.",
  }),
);

const tokenize = {
  tags,
  summary: 'Text or messages to token ids',
  body: Type.Object({
    model,
    prompt: Type.Optional(Type.String()),
    messages: Type.Optional(Messages),
    add_special_tokens: Type.Optional(Type.Boolean({ default: true, description: 'Of `prompt` alone.' })),
    return_token_strs: Type.Optional(Type.Boolean({ default: false })),
  }),
  response: {
    200: Type.Object({
      count: Type.Integer(),
      max_model_len: Type.Integer(),
      tokens: Type.Array(Type.Integer()),
      token_strs: Type.Union([Type.Array(Type.String()), Type.Null()]),
    }),
    ...errorAnswers,
  },
};
const detokenize = {
  tags,
  summary: 'Token ids to text',
  body: Type.Object({ model, tokens: TokenIds }),
  response: { 200: Type.Object({ prompt: Type.String() }), ...errorAnswers },
};

const info = {
  tags,
  summary: 'The special tokens and the chat template, as vLLM says it',
  response: {
    200: Type.Object({
      tokenizer_class: Type.String(),
      bos_token: Type.Union([Type.String(), Type.Null()]),
      eos_token: Type.Union([Type.String(), Type.Null()]),
      pad_token: Type.Null(),
      chat_template: Type.Union([Type.String(), Type.Null()]),
      model_max_length: Type.Integer(),
      vocab_size: Type.Integer(),
    }),
    ...errorAnswers,
  },
};

export const tokenizeRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { tokenizer } = services;

    app.post('/tokenize', { config, schema: tokenize }, async (request) => {
      const { body } = request;
      const { prompt, messages, add_special_tokens: addSpecialTokens = true, return_token_strs: strings } = body;
      if ((prompt === undefined) === (messages === undefined)) {
        throw new LorikeetError('invalid_parameter', { message: 'Send either prompt or messages.', param: 'prompt' });
      }
      const tokens =
        messages === undefined
          ? encodePrompt(services, prompt!, 'prompt', { addSpecialTokens })
          : await chatTokens(services, request, adaptersOfModel(services, body.model), { messages });
      const spelled = tokens.map((token) => Buffer.from(tokenizer.tokenBytes(token)).toString());
      return {
        count: tokens.length,
        max_model_len: services.contextTokens(),
        tokens,
        token_strs: strings ? spelled : null,
      };
    });

    const preValidation = refuseLongLists(services, 'tokens');
    app.post('/detokenize', { config, schema: detokenize, preValidation }, async ({ body: { tokens } }) => {
      const checked = encodePrompt(services, tokens, 'tokens');
      return { prompt: tokenizer.decode(checked, { skipSpecial: false }) };
    });

    app.get('/tokenizer_info', { config, schema: info }, async () => {
      const spelled = (token: number | undefined) =>
        token === undefined ? null : tokenizer.decode([token], { skipSpecial: false });
      const [first] = tokenizer.encode('', { addSpecialTokens: true, parseSpecial: false });
      return {
        tokenizer_class: 'PreTrainedTokenizerFast',
        bos_token: spelled(first),
        eos_token: spelled(tokenizer.eosTokens[0]),
        pad_token: null,
        chat_template: tokenizer.chatTemplate,
        model_max_length: services.contextTokens(),
        vocab_size: tokenizer.vocabulary,
      };
    });
  };
