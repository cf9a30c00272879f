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

    const cancel = schemaOf('End a job for good; checkpoints that are adapters stay');
    app.post(
      `${url}/cancel`,
      { config: { ...config, audit: 'jobs.cancel' }, schema: cancel },
      async ({ tenant, params: { id } }) => {
        return jobJson(await jobs.cancel(tenant, id));
      },
    );

    const pause = schemaOf('Stop a job for now: it writes a checkpoint and gives its memory back');
    app.post(
      `${url}/pause`,
      { config: { ...config, audit: 'jobs.pause' }, schema: pause },
      async ({ tenant, params: { id } }) => {
        return jobJson(await jobs.pause(tenant, id));
      },
    );

    const resume = schemaOf('Let a paused job go on from its last checkpoint');
    app.post(
      `${url}/resume`,
      { config: { ...config, audit: 'jobs.resume' }, schema: resume },
      async ({ tenant, params: { id } }) => {
        return jobJson(await jobs.resume(tenant, id));
      },
    );
  };
