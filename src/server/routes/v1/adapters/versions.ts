// /v1/adapters/{name}/versions: lists the versions of a name, shows or deletes one, downloads its files.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { packTar } from 'modern-tar/fs';
import { configFile, templateFile, weightsFile } from '../../../adapters/adapter-files.ts';
import { adaptersJson, idOf, listJson } from '../../../adapters/adapter-json.ts';
import { deleteAdapter } from '../../../adapters/deletion.ts';
import { digestHeader } from '../../../adapters/held-adapters.ts';
import { answerNobody } from '../../../generation/answer.ts';
import { boundDownload } from '../../../http/download.ts';
import { AdapterList, AdapterWithProvenance, Deletion, NameParams, VersionParams } from '../../../schemas/adapters.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import type { Services } from '../../../services.ts';
import { provenanceJson } from '../../../training/job-json.ts';

const tags = ['adapters'];
const config = { scope: 'adapters' } as const;
const url = '/v1/adapters/:name/versions';

const list = {
  tags,
  summary: 'All versions of an adapter, newest first',
  params: NameParams,
  response: { 200: AdapterList, ...errorAnswers },
};
const one = {
  tags,
  summary: 'One version; of one that was trained here also how',
  params: VersionParams,
  response: { 200: AdapterWithProvenance, ...errorAnswers },
};
const remove = {
  tags,
  summary: 'Delete a version',
  description:
    '200 when it is gone; 202 while requests in flight still use it. A version that an alias points to stays.',
  params: VersionParams,
  response: { 200: Deletion, 202: Deletion, ...errorAnswers },
};
const content = {
  tags,
  summary: 'Download a version as PEFT reads it',
  description:
    'An uncompressed tar of adapter_config.json, adapter_model.safetensors and, of its own, chat_template.jinja.',
  params: VersionParams,
  response: {
    200: { description: 'The archive.', content: { 'application/x-tar': { schema: { type: 'string' } } } },
    ...errorAnswers,
  },
};

const reference = ({ name, version }: { name: string; version: string }) => `${name}@${version}`;

export const versionsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry, limits } = services;

    app.get(url, { config, schema: list }, async ({ tenant, params: { name } }) => {
      return listJson(await adaptersJson(services, tenant, await registry.versions(tenant, name)));
    });

    app.get(`${url}/:version`, { config, schema: one }, async ({ tenant, params }) => {
      const found = await registry.find(tenant, reference(params));
      const [adapter] = await adaptersJson(services, tenant, [found]);
      const training = await registry.training(found);
      return { ...adapter!, provenance: training === null ? null : provenanceJson(training) };
    });

    app.delete(
      `${url}/:version`,
      { config: { ...config, audit: 'adapters.delete' }, schema: remove },
      async (request, reply) => {
        const { params } = request;
        const target = { name: params.name, version: Number(params.version) };
        const deleted = await deleteAdapter(services, request, target);
        return reply.status(deleted ? 200 : 202).send({ id: reference(params), object: 'adapter', deleted });
      },
    );

    app.get(
      `${url}/:version/content`,
      { config, schema: content, exposeHeadRoute: false },
      async ({ tenant, params }, reply) => {
        // The lease is kept until the download ends, so that a deletion does not remove the files meanwhile.
        const { adapter, files, release } = await registry.lease(tenant, reference(params));
        const template = await registry.template(adapter).catch((error) => {
          release();
          throw error;
        });
        if (reply.raw.destroyed) {
          release();
          return answerNobody(reply, null);
        }
        reply.raw.once('close', release);
        boundDownload(reply, limits);
        const mtime = new Date(adapter.createdAt);
        const entry = (source: string, target: string) => ({
          type: 'file' as const,
          source,
          target,
          mtime,
          mode: 0o644,
        });
        const around = template === null ? [] : [{ type: 'content' as const, content: template, target: templateFile }];
        const fileName = `${idOf(adapter).replaceAll('/', '-')}.tar`;
        return reply
          .type('application/x-tar')
          .header('content-disposition', `attachment; filename="${fileName}"`)
          .header(digestHeader, adapter.digest)
          .send(packTar([...around, entry(files.config, configFile), entry(files.weights, weightsFile)]));
      },
    );
  };
