// /v1/fine_tuning/jobs/{id}: shows a training job; cancels, pauses or resumes it.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { errorAnswers } from '../../../../schemas/error.ts';
import { Job, JobParams } from '../../../../schemas/fine-tuning.ts';
import type { Services } from '../../../../services.ts';
import { jobJson } from '../../../../training/job-json.ts';

const config = { scope: 'train' } as const;
const url = '/v1/fine_tuning/jobs/:id';
const schemaOf = (summary: string) => ({
  tags: ['training'],
  summary,
  params: JobParams,
  response: { 200: Job, ...errorAnswers },
});

export const jobRoute =
  ({ jobs }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(url, { config, schema: schemaOf('One training job') }, async ({ tenant, params: { id } }) => {
      return jobJson(await jobs.find(tenant, id));
    });

    for (const [verb, summary] of [
      ['cancel', 'End a job for good; checkpoints that are adapters stay'],
      ['pause', 'Stop a job for now: it writes a checkpoint and gives its memory back'],
      ['resume', 'Let a paused job go on from its last checkpoint'],
    ] as const) {
      const options = { config: { ...config, audit: `jobs.${verb}` }, schema: schemaOf(summary) };
      app.post(`${url}/${verb}`, options, async (request) => {
        const { tenant, params } = request;
        const before = await jobs.find(tenant, params.id);
        const after = await jobs[verb](tenant, params.id);
        request.changed = { before: { status: before.state }, after: { status: after.state } };
        return jobJson(after);
      });
    }
  };
