// /v1/adapters/uploads/{digest}: uploads weights in parts, for connections that break. HEAD gives the offset that was
// reached, PATCH continues from there, and a POST to /v1/adapters then names the digest.

import { Readable } from 'node:stream';
import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../../core/errors.ts';
import type { ResumableUpload } from '../../../../registry/adapter-registry.ts';
import { detachedBody, watchUpload } from '../../../http/upload-watch.ts';
import { UploadHeaders, UploadParams } from '../../../schemas/adapters.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import type { Services } from '../../../services.ts';

const tags = ['adapters'];
const config = { scope: 'adapters' } as const;
const url = '/v1/adapters/uploads/:digest';
/** Content types of a part: plain bytes, and the names for them in the IETF draft and in tus. */
const contentTypes = ['application/octet-stream', 'application/partial-upload', 'application/offset+octet-stream'];

const offset = {
  tags,
  summary: 'How far an upload came',
  params: UploadParams,
  response: {
    204: Type.Null({ description: '`upload-offset` is the number of bytes that are here.' }),
    ...errorAnswers,
  },
};
const append = {
  tags,
  summary: 'Append to an upload from where it stopped',
  params: UploadParams,
  headers: UploadHeaders,
  body: { content: Object.fromEntries(contentTypes.map((type) => [type, { schema: Type.Unknown() }])) },
  response: { 204: Type.Null({ description: '`upload-complete: ?1` where all bytes are here.' }), ...errorAnswers },
};

/** Headers of the IETF draft on resumable uploads, which writes booleans as `?1` and `?0`. */
const headersOf = ({ offset, complete }: ResumableUpload) => ({
  'upload-offset': String(offset),
  'upload-complete': complete ? '?1' : '?0',
});

export const uploadsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry } = services;
    app.addContentTypeParser(contentTypes, (_request, payload, done) => done(null, payload));

    app.head(url, { config, schema: offset }, async ({ tenant, params }, reply) => {
      const upload = await registry.uploadOf(tenant, params.digest);
      if (upload === null) throw new LorikeetError('upload_not_found', { param: 'digest' });
      return reply
        .status(204)
        .headers({ ...headersOf(upload), 'cache-control': 'no-store' })
        .send(null);
    });

    app.patch(url, { config: { ...config, audit: null }, schema: append }, async (request, reply) => {
      const { tenant, params, headers } = request;
      if (!(request.body instanceof Readable)) {
        throw new LorikeetError('unsupported_media_type', { message: `Send ${contentTypes[0]}.` });
      }
      const watch = watchUpload(services, request, reply);
      const bytes = watch.reads(detachedBody(request.body));
      const part = { offset: Number(headers['upload-offset']), total: Number(headers['upload-length']), bytes };
      try {
        return reply
          .status(204)
          .headers(headersOf(await registry.appendUpload(tenant, params.digest, part)))
          .send(null);
      } catch (error) {
        if (error instanceof LorikeetError && error.code === 'upload_offset_mismatch') {
          // Tells the caller the offset to continue from, which saves a HEAD.
          reply.header('upload-offset', String((await registry.uploadOf(tenant, params.digest))?.offset ?? 0));
        }
        throw withHeaderName(error);
      } finally {
        bytes.destroy();
      }
    });
  };

/** Names of headers for the registry's names of the same values. */
const headerNames: Readonly<Record<string, string>> = { offset: 'upload-offset', total: 'upload-length' };

function withHeaderName(error: unknown): unknown {
  const param = error instanceof LorikeetError ? headerNames[error.param ?? ''] : undefined;
  if (param === undefined) return error;
  const { code, message } = error as LorikeetError;
  return new LorikeetError(code, { message, param, cause: error });
}
