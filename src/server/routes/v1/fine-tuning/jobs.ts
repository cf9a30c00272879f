// /v1/fine_tuning/jobs: starts a training job, lists jobs.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { listJson } from '../../../adapters/adapter-json.ts';
import { readListPage } from '../../../http/list-page.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { Job, JobBody, JobList, JobPageQuery } from '../../../schemas/fine-tuning.ts';
import type { Services } from '../../../services.ts';
import { jobJson } from '../../../training/job-json.ts';
import { assertMayPublish } from '../../../training/may-publish.ts';
import { newJobOf } from '../../../training/new-job.ts';

const tags = ['training'];
const config = { scope: 'train' } as const;
const url = '/v1/fine_tuning/jobs';
/** OpenAI's default size of a page. */
const pageDefault = 20;

const create = {
  tags,
  summary: 'Train an adapter on a file of rows',
  description:
    "`model` is the base, or one of the caller's adapters to go on from. The adapter is registered when the job has " +
    'succeeded, and `alias` moved to it.',
  body: JobBody,
  response: { 200: Job, ...errorAnswers },
};
const list = {
  tags,
  summary: "The caller's training jobs, newest first",
  querystring: JobPageQuery,
  response: { 200: JobList, ...errorAnswers },
};

export const jobsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { jobs, model, limits } = services;

    app.post(
      url,
      { config: { ...config, audit: 'jobs.create', isIdempotent: true }, schema: create },
      async (request) => {
        const { tenant, keyPrefix, body } = request;
        await assertMayPublish(services, request, body);
        const mayPublish = request.can('adapters');
        const job = await jobs.create(tenant, { ...newJobOf(body, keyPrefix, model.name), mayPublish });
        request.changed = { target: job.id, after: body };
        return jobJson(job);
      },
    );

    app.get(url, { config, schema: list }, async ({ tenant, query }) => {
      const { after = null, limit: asked = pageDefault } = query;
      const { rows, hasMore } = await readListPage(limits, asked, (limit) => jobs.list(tenant, { after, limit }));
      return listJson(rows.map(jobJson), hasMore);
    });
  };
