// /v1/files: rows to train on, requests of batches, and the results of jobs and batches.

import { createReadStream } from 'node:fs';
import multipart from '@fastify/multipart';
import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import { LorikeetError } from '../../../core/errors.ts';
import type { TrainingFile, UploadPurpose } from '../../../jobs/training-files.ts';
import { listJson } from '../../adapters/adapter-json.ts';
import { boundDownload } from '../../http/download.ts';
import { readListPage } from '../../http/list-page.ts';
import { watchUpload } from '../../http/upload-watch.ts';
import { Deletion } from '../../schemas/adapters.ts';
import { formOf } from '../../schemas/describe.ts';
import { errorAnswers } from '../../schemas/error.ts';
import { FileList, FileObject, FileParams, FileQuery } from '../../schemas/files.ts';
import type { Services } from '../../services.ts';
import { stageRows } from '../../training/file-parts.ts';
import { assertMay, fileScopes, shownPurposes } from '../../training/file-scopes.ts';
import { fileJson } from '../../training/job-json.ts';

const tags = ['training'];
const config = { scope: fileScopes };
const url = '/v1/files';
const params = FileParams;

const upload = {
  tags,
  summary: 'Upload rows to train on, or requests of a batch',
  description:
    'A form with the parts `file` and `purpose`. With `fine-tune` the file is JSONL of `{"prompt", "completion"}` or ' +
    '`{"messages"}`; every line is looked at while it comes, and those that cannot be trained on are named. With ' +
    '`batch` it is JSONL of `{"custom_id", "method", "url", "body"}`, looked at when a batch is made of it.',
  body: { content: { 'multipart/form-data': { schema: Type.Unknown() } } },
  response: { 200: FileObject, ...errorAnswers },
};
const list = {
  tags,
  summary: "The caller's files",
  querystring: FileQuery,
  response: { 200: FileList, ...errorAnswers },
};
const one = { tags, summary: 'One file', params, response: { 200: FileObject, ...errorAnswers } };
const remove = {
  tags,
  summary: 'Delete a file',
  description: 'One that a job or a batch still needs stays.',
  params,
  response: { 200: Deletion, ...errorAnswers },
};
const content = {
  tags,
  summary: "A file's bytes",
  params,
  response: {
    200: { description: 'As they came.', content: { 'application/octet-stream': { schema: { type: 'string' } } } },
    ...errorAnswers,
  },
};

const form = formOf({ file: 'binary', purpose: ['fine-tune', 'batch'] });

type Asking = Pick<FastifyRequest, 'tenant' | 'can'> & { readonly params: { readonly id: string } };

/** Bounds of the form; the file has a limit of its own. */
const formLimits = { fields: 4, files: 1, parts: 5, fileSize: Number.POSITIVE_INFINITY };

export const filesRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { files, limits } = services;
    const find = async (request: Asking): Promise<TrainingFile> => {
      const file = await files.find(request.tenant, request.params.id);
      assertMay(request, file);
      return file;
    };
    await app.register(multipart, { limits: formLimits });

    app.post(
      url,
      { config: { ...config, audit: 'files.create', isIdempotent: true, describe: form }, schema: upload },
      async (request, reply) => {
        if (!request.isMultipart()) {
          throw new LorikeetError('unsupported_media_type', { message: 'Send a form: multipart/form-data.' });
        }
        const { tenant, keyPrefix: createdBy } = request;
        const watch = watchUpload(services, request, reply);
        const staged = await files.stage(tenant);
        try {
          const rules = { watch, limits, assertMay: (purpose: UploadPurpose) => assertMay(request, { purpose }) };
          const about = await stageRows(request.parts(), staged, rules);
          const file = fileJson(await staged.publish({ tenant, createdBy, ...about }));
          request.changed = { target: file.id, after: file };
          return file;
        } finally {
          await staged.discard();
        }
      },
    );

    app.get(url, { config, schema: list }, async (request) => {
      const { tenant, query } = request;
      const purposes = shownPurposes(request, query.purpose ?? null);
      const page = { after: query.after ?? null, purposes, newestFirst: query.order !== 'asc' };
      const { rows, hasMore } = await readListPage(limits, query.limit, (limit) =>
        files.list(tenant, { ...page, limit }),
      );
      return listJson(rows.map(fileJson), hasMore);
    });

    app.get(`${url}/:id`, { config, schema: one }, async (request) => fileJson(await find(request)));

    app.delete(`${url}/:id`, { config: { ...config, audit: 'files.delete' }, schema: remove }, async (request) => {
      const file = await find(request);
      const { id } = file;
      request.changed = { before: fileJson(file) };
      await files.delete(request.tenant, id);
      return { id, object: 'file', deleted: true };
    });

    app.get(`${url}/:id/content`, { config, schema: content, exposeHeadRoute: false }, async (request, reply) => {
      const file = await find(request);
      await files.assertIntact(file);
      boundDownload(reply, limits);
      return reply
        .type('application/octet-stream')
        .header('content-length', file.bytes)
        .header('content-disposition', `attachment; filename*=UTF-8''${encodeURIComponent(file.filename)}`)
        .send(createReadStream(files.pathOf(file)));
    });
  };
