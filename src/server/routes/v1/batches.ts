// /v1/batches: OpenAI's batch API. The requests of a file are answered at a low priority, and the answers are a file.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Batch } from '../../../jobs/batches/batches.ts';
import { listJson } from '../../adapters/adapter-json.ts';
import { epochSeconds } from '../../http/epoch-seconds.ts';
import { readListPage } from '../../http/list-page.ts';
import { BatchBody, BatchList, BatchObject, BatchParams, BatchQuery } from '../../schemas/batches.ts';
import { errorAnswers } from '../../schemas/error.ts';
import type { Services } from '../../services.ts';

const tags = ['generation'];
const config = { scope: 'generate' } as const;
const url = '/v1/batches';
/** OpenAI's default size of a page. */
const pageDefault = 20;

const create = {
  tags,
  summary: 'Answer a file of requests',
  description:
    'Each line is `{"custom_id", "method": "POST", "url", "body"}`, the url that of `endpoint`. A line has the ' +
    'quota and the adapters of the key that made the batch, and waits for whatever else its tenant asks. Answers ' +
    'and errors become two files.',
  body: BatchBody,
  response: { 200: BatchObject, ...errorAnswers },
};
const list = {
  tags,
  summary: "The caller's batches, newest first",
  querystring: BatchQuery,
  response: { 200: BatchList, ...errorAnswers },
};
const schemaOf = (summary: string) => ({
  ...{ tags, summary, params: BatchParams },
  response: { 200: BatchObject, ...errorAnswers },
});

export const batchesRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { batches, limits } = services;

    app.post(
      url,
      { config: { ...config, audit: 'batches.create', isIdempotent: true }, schema: create },
      async (request) => {
        const { tenant, keyPrefix: createdBy, body } = request;
        const { input_file_id: inputFile, endpoint, metadata = null } = body;
        const batch = await batches.create(tenant, { createdBy, inputFile, endpoint, metadata });
        request.changed = { target: batch.id, after: body };
        return batchJson(batch);
      },
    );

    app.get(url, { config, schema: list }, async ({ tenant, query }) => {
      const { after = null, limit: asked = pageDefault } = query;
      const { rows, hasMore } = await readListPage(limits, asked, (limit) => batches.list(tenant, { after, limit }));
      return listJson(rows.map(batchJson), hasMore);
    });

    app.get(`${url}/:id`, { config, schema: schemaOf('One batch') }, async ({ tenant, params: { id } }) => {
      return batchJson(await batches.find(tenant, id));
    });

    const cancel = schemaOf('End a batch; what was answered stays');
    app.post(
      `${url}/:id/cancel`,
      { config: { ...config, audit: 'batches.cancel' }, schema: cancel },
      async (request) => {
        const { tenant, params } = request;
        const before = await batches.find(tenant, params.id);
        const after = await batches.cancel(tenant, params.id);
        request.changed = { before: { status: before.state }, after: { status: after.state } };
        return batchJson(after);
      },
    );
  };

function batchJson({ times, problems, ...batch }: Batch): BatchObject {
  const at = (state: keyof typeof times) => (times[state] === undefined ? null : epochSeconds(times[state]));
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    errors: problems.length === 0 ? null : { object: 'list', data: problems.map((problem) => ({ ...problem })) },
    input_file_id: batch.inputFile,
    completion_window: '24h',
    status: batch.state,
    output_file_id: batch.outputFile,
    error_file_id: batch.errorFile,
    created_at: epochSeconds(batch.createdAt),
    in_progress_at: at('in_progress'),
    expires_at: epochSeconds(batch.expiresAt),
    finalizing_at: at('finalizing'),
    completed_at: at('completed'),
    failed_at: at('failed'),
    expired_at: at('expired'),
    cancelling_at: at('cancelling'),
    cancelled_at: at('cancelled'),
    request_counts: { ...batch.counts },
    metadata: batch.metadata === null ? null : { ...batch.metadata },
  };
}
