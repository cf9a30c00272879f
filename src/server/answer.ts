// How a generation becomes an answer, whole or as events, and what happens when its reader leaves. The shapes are the
// routes'; this is what they share.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { errorAnswer } from './error-answer.ts';
import { type EventStream, eventStream, eventStreamHeaders } from './event-stream.ts';
import { type Ask, type Generation, type GenerationListener, generate, type Outcome } from './generation.ts';
import { toLorikeetError } from './plugins/errors.ts';
import type { Services } from './services.ts';

type Exchange = { readonly request: FastifyRequest; readonly reply: FastifyReply };

export async function answerWhole(services: Services, { reply }: Exchange, asks: readonly Ask[]): Promise<Outcome[]> {
  const generation = generate(services, asks);
  abortWhenReaderLeaves(reply, generation);
  return generation.outcomes;
}

/** Writes a generation's events; `end` writes what comes between the last token and `[DONE]`. */
export type EventWriter = GenerationListener & { end?(outcomes: readonly Outcome[]): void };

export async function answerStream(
  services: Services,
  { request, reply }: Exchange,
  asks: readonly Ask[],
  writerOf: (stream: EventStream) => EventWriter,
): Promise<FastifyReply> {
  const { heartbeatMs, streamEvents } = services.limits;
  const stream = eventStream({
    heartbeatMs,
    eventsMax: streamEvents,
    onTooSlow: () => request.log.warn('the reader of a stream is too slow and was cut off'),
  });
  const writer = writerOf(stream);
  const generation = startOrClose(stream, () => generate(services, asks, writer));
  abortWhenReaderLeaves(reply, generation);
  generation.outcomes.then(
    (outcomes) => {
      writer.end?.(outcomes);
      stream.done();
    },
    (cause) => {
      const error = toLorikeetError(cause);
      stream.fail(error, JSON.stringify(errorAnswer(error)));
      if (!reply.raw.headersSent) return;
      services.metrics.requestFailed(error.code);
      request.log.warn({ code: error.code }, 'stream failed');
    },
  );
  // Until the first token a failure can still be an ordinary error with a status, which clients know to retry.
  await stream.opened;
  return reply.headers(eventStreamHeaders).send(stream.body);
}

function startOrClose(stream: EventStream, start: () => Generation): Generation {
  try {
    return start();
  } catch (error) {
    stream.body.destroy();
    throw error;
  }
}

function abortWhenReaderLeaves({ raw }: FastifyReply, generation: Generation): void {
  raw.once('close', () => {
    if (!raw.writableEnded) generation.abort();
  });
}
