// GET /version and /ping, which load balancers and scripts written for vLLM ask.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from '@fastify/type-provider-typebox';
import { packageVersion } from '../http/version.ts';
import type { Services } from '../services.ts';

const tags = ['operation'];
const config = { scope: 'none' } as const;
const version = {
  ...{ tags, summary: 'The version of this server', security: [] },
  response: { 200: Type.Object({ version: Type.String() }) },
};
const ping = {
  ...{ tags, summary: 'The process answers, as on SageMaker', security: [] },
  response: { 200: { description: 'Nothing.', content: { 'text/plain': { schema: { type: 'string' } } } } },
};

export const versionRoute =
  (_services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/version', { config, schema: version }, async () => ({ version: packageVersion }));
    app.route({
      method: ['GET', 'POST'],
      ...{ url: '/ping', config, schema: ping, exposeHeadRoute: false },
      handler: async (_request, reply) => reply.status(200).send(''),
    });
  };
