// /v1/adapters/{name}/merged: exports the base model with an adapter merged in, as a checkpoint for other programs.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { idOf } from '../../../adapters/adapter-json.ts';
import { digestHeader } from '../../../adapters/held-adapters.ts';
import { withLeases } from '../../../adapters/offline-work.ts';
import { boundDownload } from '../../../http/download.ts';
import { onClose } from '../../../http/on-close.ts';
import { NameParams } from '../../../schemas/adapters.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { ExportQuery } from '../../../schemas/offline.ts';
import type { Services } from '../../../services.ts';

const config = { scope: 'adapters' } as const;
const url = '/v1/adapters/:name/merged';
const binary = { schema: { type: 'string' } };
const schema = {
  tags: ['adapters'],
  summary: 'Download the base model with an adapter merged in',
  description:
    'As `gguf`, one file; as `safetensors`, an uncompressed tar of a folder with config and tokeniser. Takes ' +
    '`name@version` and `name:alias` too. Merging goes on while it downloads; what breaks off is not whole.',
  params: NameParams,
  querystring: ExportQuery,
  response: {
    200: { description: 'It.', content: { 'application/x-tar': binary, 'application/octet-stream': binary } },
    ...errorAnswers,
  },
};

const answers = {
  gguf: { type: 'application/octet-stream', extension: 'gguf' },
  safetensors: { type: 'application/x-tar', extension: 'tar' },
} as const;

export const mergedRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { offline, model, registry, limits } = services;

    app.get(url, { config, schema, exposeHeadRoute: false }, async (request, reply) => {
      const { format, dtype = 'F16', unpacked = 'false' } = request.query;
      const { type, extension } = answers[format];
      const named = [{ reference: request.params.name, param: 'name' }];
      return withLeases(services, { request, reply }, named, async ([lease], signal) => {
        const { adapter, files } = lease!;
        const name = `${model.name} with ${idOf(adapter)}`;
        const chatTemplate = await registry.template(adapter);
        const order = { adapter: files, format, dtype, unpacked: unpacked === 'true', name, chatTemplate };
        onClose(reply.raw, services.offlinePlace(request.tenant));
        const { bytes, body } = await offline.exportMerged(order, signal);
        boundDownload(reply, limits);
        const fileName = `${model.name}-${idOf(adapter)}`.replaceAll(/[^\w.@-]/g, '-');
        return reply
          .type(type)
          .header('content-length', bytes)
          .header('content-disposition', `attachment; filename="${fileName}.${extension}"`)
          .header(digestHeader, adapter.digest)
          .send(body);
      });
    });
  };
