// GET /, which names the server and leads to its console and documentation; GET /version and /ping, which load
// balancers and scripts written for vLLM ask.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from '@fastify/type-provider-typebox';
import { packageVersion } from '../http/version.ts';
import type { Services } from '../services.ts';

const tags = ['operation'];
const config = { scope: 'none' } as const;
const Welcome = Type.Object({
  name: Type.Literal('lorikeet'),
  version: Type.String(),
  model: Type.String(),
  docs: Type.Optional(Type.String({ description: 'Addresses on this server.' })),
  openapi: Type.Optional(Type.String()),
  console: Type.String(),
});
const welcome = {
  ...{ tags, summary: 'What this is; a browser is led to the console', security: [] },
  response: { 200: Welcome, 302: { description: 'To the console.', type: 'null' } },
};
const version = {
  ...{ tags, summary: 'The version of this server', security: [] },
  response: { 200: Type.Object({ version: Type.String() }) },
};
const ping = {
  ...{ tags, summary: 'The process answers, as on SageMaker', security: [] },
  response: { 200: { description: 'Nothing.', content: { 'text/plain': { schema: { type: 'string' } } } } },
};

export const versionRoute =
  ({ model }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/', { config, schema: welcome }, async ({ headers }, reply) => {
      if (headers.accept?.includes('text/html')) return reply.redirect('/console/', 302);
      return {
        ...{ name: 'lorikeet' as const, version: packageVersion, model: model.name },
        ...(app.hasRoute({ method: 'GET', url: '/openapi.json' }) ? { docs: '/docs', openapi: '/openapi.json' } : {}),
        console: '/console/',
      };
    });
    app.get('/version', { config, schema: version }, async () => ({ version: packageVersion }));
    app.route({
      method: ['GET', 'POST'],
      ...{ url: '/ping', config, schema: ping, exposeHeadRoute: false },
      handler: async (_request, reply) => reply.status(200).send(''),
    });
  };
