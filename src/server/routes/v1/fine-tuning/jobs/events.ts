// /v1/fine_tuning/jobs/{id}/events and /checkpoints: the events of a job, in pages or as a stream, and its saved
// checkpoints.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { JobEvent } from '../../../../../jobs/training-jobs.ts';
import { listJson } from '../../../../adapters/adapter-json.ts';
import { answerNobody } from '../../../../generation/answer.ts';
import { errorAnswer } from '../../../../http/error-answer.ts';
import { eventStream, eventStreamHeaders } from '../../../../http/event-stream.ts';
import { readListPage } from '../../../../http/list-page.ts';
import { onClose } from '../../../../http/on-close.ts';
import { toLorikeetError } from '../../../../http/plugins/errors.ts';
import { eventOf } from '../../../../schemas/describe.ts';
import { errorAnswers } from '../../../../schemas/error.ts';
import {
  CheckpointList,
  EventQuery,
  JobEventList,
  JobEvent as JobEventObject,
  JobPageQuery,
  JobParams,
} from '../../../../schemas/fine-tuning.ts';
import type { Services } from '../../../../services.ts';
import { checkpointJson, eventJson } from '../../../../training/job-json.ts';

const tags = ['training'];
const config = { scope: 'train' } as const;
const url = '/v1/fine_tuning/jobs/:id';
/** OpenAI's default sizes of a page. */
const [eventsDefault, checkpointsDefault] = [20, 10];

const events = {
  tags,
  summary: 'Events of a job, newest first',
  description:
    'With `stream=true`, or where the caller accepts text/event-stream: oldest first, as they come, until the job is ' +
    'over, then `[DONE]`. Old steps of a long job are thinned.',
  params: JobParams,
  querystring: EventQuery,
  response: {
    200: {
      description: 'A page of events, or one event after the other',
      content: {
        'application/json': { schema: JobEventList },
        'text/event-stream': { schema: eventOf(JobEventObject) },
      },
    },
    ...errorAnswers,
  },
};
const checkpoints = {
  tags,
  summary: 'Checkpoints of a job that can be asked for as adapters, newest first',
  params: JobParams,
  querystring: JobPageQuery,
  response: { 200: CheckpointList, ...errorAnswers },
};

export const jobEventsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { jobs, limits } = services;

    app.get(`${url}/events`, { config, schema: events }, async (request, reply) => {
      const { tenant, params, query, headers } = request;
      const after = query.after ?? null;
      const wantsStream = query.stream ?? String(headers.accept?.includes('text/event-stream') === true);
      if (wantsStream === 'true') {
        const stop = new AbortController();
        const told = await jobs.follow(tenant, params.id, after, stop.signal);
        return sendEvents(services, { request, reply, stop }, told);
      }
      const { rows, hasMore } = await readListPage(limits, query.limit ?? eventsDefault, (limit) =>
        jobs.events(tenant, params.id, { after, limit }),
      );
      return listJson(rows.map(eventJson), hasMore);
    });

    app.get(`${url}/checkpoints`, { config, schema: checkpoints }, async ({ tenant, params: { id }, query }) => {
      const { after = null, limit: asked = checkpointsDefault } = query;
      const { rows, hasMore } = await readListPage(limits, asked, (limit) =>
        jobs.checkpoints(tenant, id, { after, limit }),
      );
      return listJson(
        rows.map((checkpoint) => checkpointJson(id, checkpoint)),
        hasMore,
      );
    });
  };

type Exchange = { readonly request: FastifyRequest; readonly reply: FastifyReply; readonly stop: AbortController };

/** Streams a job's events. The job continues when the reader leaves. */
function sendEvents({ limits }: Services, { request, reply, stop }: Exchange, told: AsyncIterable<JobEvent>) {
  const stream = eventStream({
    heartbeatMs: limits.heartbeatMs,
    eventsMax: limits.streamEvents,
    onTooSlow: () => request.log.warn('the reader of a stream is too slow and was cut off'),
  });
  onClose(reply.raw, () => stop.abort());
  if (reply.raw.destroyed) return answerNobody(reply, stream.body);
  // A reader who leaves before the first event rejects this promise, which is not an error of the server.
  stream.opened.catch(() => {});
  void (async () => {
    try {
      for await (const event of told) stream.send(JSON.stringify(eventJson(event)));
      stream.done();
    } catch (cause) {
      const error = toLorikeetError(cause);
      request.log.warn({ code: error.code, err: cause }, 'stream failed');
      stream.fail(error, JSON.stringify(errorAnswer(error)));
    }
  })();
  return reply.headers(eventStreamHeaders).send(stream.body);
}
