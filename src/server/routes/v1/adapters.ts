// /v1/adapters: upload, list.

import multipart from '@fastify/multipart';
import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LorikeetError } from '../../../core/errors.ts';
import type { StagedAdapter } from '../../../registry/adapter-registry.ts';
import { adaptersJson, addressOf, listJson } from '../../adapter-json.ts';
import { stageParts } from '../../adapter-parts.ts';
import { Adapter, AdapterList, PageQuery, PublishBody } from '../../schemas/adapters.ts';
import { errorAnswers } from '../../schemas/error.ts';
import type { Services } from '../../services.ts';
import { watchUpload } from '../../upload-watch.ts';

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
    'weights that /v1/adapters/uploads has taken. The same content under the same name is the same version: 200.',
  body: {
    content: { 'application/json': { schema: PublishBody }, 'multipart/form-data': { schema: Type.Unknown() } },
  },
  response: { 200: Adapter, 201: Adapter, ...errorAnswers },
};

/** What may stand beside the two files; the registry limits those. */
const formLimits = { fields: 4, files: 4, parts: 8, fileSize: Number.POSITIVE_INFINITY };

export const adaptersRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry, limits } = services;
    await app.register(multipart, { limits: formLimits });

    app.get('/v1/adapters', { config, schema: list }, async ({ query, tenant }) => {
      const limit = Math.min(Number(query.limit ?? limits.listPage), limits.listPage);
      // The cursor is an id; the registry's is a name.
      const after = query.after?.split('@')[0] ?? null;
      const found = await registry.list(tenant, { after, limit: limit + 1 });
      return listJson(await adaptersJson(services, tenant, found.slice(0, limit)), found.length > limit);
    });

    app.post('/v1/adapters', { config, schema: upload }, async (request, reply) => {
      const staged = await registry.stage();
      try {
        const name = await stage(services, { request, reply }, staged);
        const { tenant, keyPrefix: createdBy } = request;
        const { adapter, created } = await staged.publish(name, { tenant, createdBy, source: 'upload' });
        const [body] = await adaptersJson(services, tenant, [adapter]);
        return reply
          .status(created ? 201 : 200)
          .header('location', addressOf(adapter))
          .send(body!);
      } finally {
        await staged.discard();
      }
    });
  };

type Exchange = { readonly request: FastifyRequest; readonly reply: FastifyReply };

/** @returns the adapter's name */
async function stage(services: Services, { request, reply }: Exchange, staged: StagedAdapter): Promise<string> {
  if (request.isMultipart()) {
    refuseForeignPage(request);
    return stageParts(request.parts(), staged, watchUpload(services, request, reply));
  }
  const body = request.body as PublishBody | null | undefined;
  if (!body) throw new LorikeetError('unsupported_media_type', { message: 'Send a form, or JSON.' });
  const { name, config: given, weights } = body;
  await staged.config(Buffer.from(typeof given === 'string' ? given : JSON.stringify(given)));
  await staged.uploadedWeights(request.tenant, weights);
  return name;
}

/** Any web page may make a browser send a form here without asking first; where no key is needed it would be taken. */
function refuseForeignPage({ headers: { origin }, host, keyPrefix }: FastifyRequest): void {
  if (origin === undefined || keyPrefix !== null || URL.parse(origin)?.host === host) return;
  const message = 'Without keys this server takes no forms from web pages of others.';
  throw new LorikeetError('unsupported_media_type', { message });
}
