// /v1/adapters/{name}: shows the newest version of a name, deletes the name with all of its versions.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { adaptersJson } from '../../../adapters/adapter-json.ts';
import { deleteAdapter } from '../../../adapters/deletion.ts';
import { Adapter, Deletion, NameParams } from '../../../schemas/adapters.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import type { Services } from '../../../services.ts';

const tags = ['adapters'];
const config = { scope: 'adapters' } as const;
const url = '/v1/adapters/:name';
const params = NameParams;
const one = {
  tags,
  summary: 'The newest version of an adapter',
  description: 'Takes `name@version` and `name:alias` too.',
  params,
  response: { 200: Adapter, ...errorAnswers },
};
const remove = {
  tags,
  summary: 'Delete an adapter with its versions and aliases',
  description: '200 when it is gone; 202 while requests in flight still use it. It takes no new ones in either case.',
  params,
  response: { 200: Deletion, 202: Deletion, ...errorAnswers },
};

export const adapterRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry } = services;

    app.get(url, { config, schema: one }, async ({ tenant, params: { name } }) => {
      const [adapter] = await adaptersJson(services, tenant, [await registry.find(tenant, name)]);
      return adapter!;
    });

    app.delete(url, { config: { ...config, audit: 'adapters.delete' }, schema: remove }, async (request, reply) => {
      const { name } = request.params;
      const deleted = await deleteAdapter(services, request, { name, version: null });
      return reply.status(deleted ? 200 : 202).send({ id: name, object: 'adapter', deleted });
    });
  };
