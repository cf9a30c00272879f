// POST /v1/unload_lora_adapter: vLLM's body and messages. Deletes the whole name; running requests finish first.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../core/errors.ts';
import { assertAllowed } from '../../adapters/allowed-adapters.ts';
import { deleteAdapter } from '../../adapters/deletion.ts';
import { answerErrorsIn, vllmErrors } from '../../http/error-dialects.ts';
import { UnloadBody } from '../../schemas/adapters.ts';
import { neededTexts } from '../../schemas/describe.ts';
import { errorAnswers } from '../../schemas/error.ts';
import type { Services } from '../../services.ts';

const schema = {
  tags: ['adapters'],
  summary: "Delete an adapter, as vLLM's route",
  body: UnloadBody,
  response: {
    200: { description: 'A sentence.', content: { 'text/plain': { schema: { type: 'string' } } } },
    ...errorAnswers,
  },
};

export const unloadLoraAdapterRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    answerErrorsIn(app, services, vllmErrors);
    app.post(
      '/v1/unload_lora_adapter',
      { config: { scope: 'admin', audit: 'adapters.delete', describe: neededTexts('lora_name') }, schema },
      async (request, reply) => {
        const { body, allowedAdapters } = request;
        const { lora_name: name } = body;
        if (!name) {
          const message = "'lora_name' needs to be provided to unload a LoRA adapter.";
          throw new LorikeetError('missing_parameter', { message, param: 'lora_name' });
        }
        try {
          assertAllowed(allowedAdapters, name);
          await deleteAdapter(services, request, { name, version: null });
        } catch (error) {
          if (!(error instanceof LorikeetError) || error.code !== 'adapter_not_found') throw error;
          const message = `The lora adapter '${name}' cannot be found.`;
          throw new LorikeetError('adapter_not_found', { message, param: 'lora_name' });
        }
        return reply.type('text/plain').send(`Success: LoRA adapter '${name}' removed successfully.`);
      },
    );
  };
