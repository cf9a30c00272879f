// /v1/adapters: uploads a version, lists adapters.

import multipart from '@fastify/multipart';
import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import { LorikeetError } from '../../../core/errors.ts';
import type { StagedAdapter } from '../../../registry/adapter-registry.ts';
import { configFile, templateFile, weightsFile } from '../../adapters/adapter-files.ts';
import { adaptersJson, addressOf, idOf, listJson } from '../../adapters/adapter-json.ts';
import { stageParts } from '../../adapters/adapter-parts.ts';
import { assertAllowed, isAllowed } from '../../adapters/allowed-adapters.ts';
import { assertFreeName } from '../../generation/models.ts';
import { readListPage } from '../../http/list-page.ts';
import { type UploadWatch, watchUpload } from '../../http/upload-watch.ts';
import { Adapter, AdapterList, PageQuery, PublishBody } from '../../schemas/adapters.ts';
import { formOf } from '../../schemas/describe.ts';
import { errorAnswers } from '../../schemas/error.ts';
import type { Services } from '../../services.ts';

const tags = ['adapters'];
const config = { scope: 'adapters' } as const;

const list = {
  tags,
  summary: "List the caller's adapters: the newest version of each name, by name",
  querystring: PageQuery,
  response: { 200: AdapterList, ...errorAnswers },
};

const upload = {
  tags,
  summary: 'Upload a version of an adapter, as PEFT saves it',
  description:
    'A form with the parts `name`, `adapter_config.json` and `adapter_model.safetensors`, in any order; or JSON, for ' +
    'weights that /v1/adapters/uploads has taken, or that a version of yours has with this config. A GGUF adapter ' +
    '(a file `*.gguf`, without a config) and one of mlx-lm (`adapters.safetensors`) are rewritten as ' +
    'PEFT has them. Files that stand beside an adapter may come too; what they would change is said in `warnings`. ' +
    'The same content under the same name is the same version: 200.',
  body: {
    content: { 'application/json': { schema: PublishBody }, 'multipart/form-data': { schema: Type.Unknown() } },
  },
  response: { 200: Adapter, 201: Adapter, ...errorAnswers },
};

const form = formOf({ name: 'text', [configFile]: 'binary', [weightsFile]: 'binary' });

/** Bounds of the form. Files beside the two of an adapter may come too; the registry bounds the sizes. */
const formLimits = { fields: 4, files: 16, parts: 20, fileSize: Number.POSITIVE_INFINITY };

export const adaptersRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry, limits } = services;
    await app.register(multipart, { limits: formLimits });

    app.get('/v1/adapters', { config, schema: list }, async ({ query, tenant, allowedAdapters }) => {
      // The cursor of this list is an id, and that of the registry is a name.
      const after = query.after?.split('@')[0] ?? null;
      const { rows, hasMore } = await readListPage(limits, query.limit, (limit) =>
        registry.list(tenant, { after, limit }),
      );
      const data = await adaptersJson(services, tenant, rows);
      const shown = data.filter(({ name }) => isAllowed(allowedAdapters, name));
      // The next page begins behind the last adapter that was looked at, even where the key may not see that one.
      const last = rows.at(-1);
      return { ...listJson(shown, hasMore), last_id: last === undefined ? null : idOf(last) };
    });

    app.post(
      '/v1/adapters',
      { config: { ...config, audit: 'adapters.publish', isIdempotent: true, describe: form }, schema: upload },
      async (request, reply) => {
        const watch = request.isMultipart() ? watchUpload(services, request, reply) : null;
        const staged = await registry.stage(request.tenant);
        try {
          const name = watch === null ? await stageJson(request, staged) : await stageForm(request, staged, watch);
          assertFreeName(services, name, 'name');
          assertAllowed(request.allowedAdapters, name);
          const { tenant, keyPrefix: createdBy } = request;
          const { adapter, created } = await staged.publish(name, { tenant, createdBy, source: 'upload' });
          const [body] = await adaptersJson(services, tenant, [adapter]);
          request.changed = { target: body!.id, after: { digest: adapter.digest, created } };
          return reply
            .status(created ? 201 : 200)
            .header('location', addressOf(adapter))
            .send(body!);
        } finally {
          await staged.discard();
        }
      },
    );
  };

/**
 * Stages the adapter of a form.
 * @returns the adapter's name
 */
function stageForm(request: FastifyRequest, staged: StagedAdapter, watch: UploadWatch): Promise<string> {
  return stageParts(request.parts(), staged, watch);
}

async function stageJson({ body, tenant }: FastifyRequest, staged: StagedAdapter): Promise<string> {
  if (!body) throw new LorikeetError('unsupported_media_type', { message: 'Send a form, or JSON.' });
  const { name, config: given, weights, companions = [], chat_template: template } = body as PublishBody;
  for (const companion of companions) await staged.companion(companion);
  if (template !== undefined) await staged.companion(templateFile, Buffer.from(template));
  if (given !== undefined) await staged.config(Buffer.from(typeof given === 'string' ? given : JSON.stringify(given)));
  await staged.uploadedWeights(tenant, weights);
  return name;
}
