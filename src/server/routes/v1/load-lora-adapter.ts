// POST /v1/load_lora_adapter: vLLM's bodies and messages, for controllers that were written for vLLM. The adapter is
// read from a folder on the server, and becomes a version like any other.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../core/errors.ts';
import { openAdapterFolder, stageFolder } from '../../adapters/adapter-root.ts';
import { assertAllowed } from '../../adapters/allowed-adapters.ts';
import { assertFreeName } from '../../generation/models.ts';
import { answerErrorsIn, vllmErrors } from '../../http/error-dialects.ts';
import { LoadBody } from '../../schemas/adapters.ts';
import { neededTexts } from '../../schemas/describe.ts';
import { errorAnswers } from '../../schemas/error.ts';
import type { Services } from '../../services.ts';

const schema = {
  tags: ['adapters'],
  summary: "Load an adapter from a folder of the server, as vLLM's route",
  body: LoadBody,
  response: {
    200: { description: 'A sentence.', content: { 'text/plain': { schema: { type: 'string' } } } },
    ...errorAnswers,
  },
};

export const loadLoraAdapterRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry, adapterRoot } = services;
    answerErrorsIn(app, services, vllmErrors);
    app.post(
      '/v1/load_lora_adapter',
      {
        config: { scope: 'admin', audit: 'adapters.publish', describe: neededTexts('lora_name', 'lora_path') },
        schema,
      },
      async (request, reply) => {
        const { body, tenant, keyPrefix } = request;
        const { lora_name: name, lora_path: path, load_inplace = false } = body;
        if (!name || !path) {
          const message = "Both 'lora_name' and 'lora_path' must be provided.";
          throw new LorikeetError('missing_parameter', { message, param: name ? 'lora_path' : 'lora_name' });
        }
        if (adapterRoot === null) {
          const message =
            'This server loads no adapters by path: set LORIKEET_ADAPTER_ROOT to the folder that has them.';
          throw new LorikeetError('unsupported_parameter', { message, param: 'lora_path' });
        }
        if (!load_inplace && (await isThere(services, tenant, name))) {
          const message =
            `The lora adapter '${name}' has already been loaded. ` +
            "If you want to load the adapter in place, set 'load_inplace' to True.";
          throw new LorikeetError('invalid_parameter', { message, param: 'lora_name' });
        }
        assertFreeName(services, name, 'lora_name');
        assertAllowed(request.allowedAdapters, name);
        await using folder = await openAdapterFolder(adapterRoot, path);
        const staged = await registry.stage(tenant);
        try {
          await stageFolder(staged, folder);
          const { adapter } = await staged.publish(name, { tenant, createdBy: keyPrefix, source: 'load' });
          request.changed = { target: `${name}@${adapter.version}`, after: { digest: adapter.digest } };
        } finally {
          await staged.discard();
        }
        return reply.type('text/plain').send(`Success: LoRA adapter '${name}' added successfully.`);
      },
    );
  };

const isThere = ({ registry }: Services, tenant: string, name: string): Promise<boolean> =>
  registry.versions(tenant, name).then(
    () => true,
    (error) => {
      if (error instanceof LorikeetError && error.code === 'adapter_not_found') return false;
      throw error;
    },
  );
