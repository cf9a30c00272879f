// Turns a generation into an answer, whole or as events, and aborts it when its reader leaves. Routes give the answers
// their shapes; this module is what they share.

import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';
import {
  digestHeaders,
  type HeldAdapters,
  holdAdapters,
  type NamedAdapter,
  orRelease,
  virtualTokensOf,
} from '../adapters/held-adapters.ts';
import { errorAnswer } from '../http/error-answer.ts';
import { type EventStream, eventStream, openaiEvents, type StreamFormat } from '../http/event-stream.ts';
import { onClose } from '../http/on-close.ts';
import { toLorikeetError } from '../http/plugins/errors.ts';
import type { Services } from '../services.ts';
import { type Generation, type GenerationListener, generate, type Outcome, type Work } from './generation.ts';
import { contextPhrase } from './sampling.ts';
import { traceGeneration } from './trace-generation.ts';

type Exchange = { readonly request: FastifyRequest; readonly reply: FastifyReply };

/** What to generate; a route adds what it needs to write the answer. */
export type Prepared = Pick<Work, 'asks'>;

/** The adapters to hold and what to generate on them. `prepare` runs when the adapters' versions are known. */
export type Order<P extends Prepared> = {
  readonly adapters: readonly NamedAdapter[];
  prepare(held: HeldAdapters): P | Promise<P>;
};

export async function answerWhole<P extends Prepared>(
  services: Services,
  exchange: Exchange,
  order: Order<P>,
): Promise<{ outcomes: Outcome[]; held: HeldAdapters; prepared: P }> {
  const { held, prepared } = await begin(services, exchange, {
    ...order,
    async prepare(held) {
      const made = await order.prepare(held);
      assertLogprobsFit(services, made.asks);
      return made;
    },
  });
  const generation = await generate(services, workOf(services, exchange.request, prepared, held));
  traceGeneration(services, exchange.request, held, generation.outcomes);
  abortWhenReaderLeaves(exchange.reply, generation);
  return { outcomes: await generation.outcomes, held, prepared };
}

/** Writes a generation's events; `end` writes what comes between the last token and the stream's end. */
export type EventWriter = GenerationListener & { end?(outcomes: readonly Outcome[]): void };

/** How an interface writes a stream, and an error in it. */
export type StreamDialect = { readonly format: StreamFormat; errorBody(error: LorikeetError): object };

const openai: StreamDialect = { format: openaiEvents, errorBody: errorAnswer };

export async function answerStream<P extends Prepared>(
  services: Services,
  exchange: Exchange,
  order: Order<P>,
  writerOf: (stream: EventStream, held: HeldAdapters, prepared: P) => EventWriter,
  { format, errorBody }: StreamDialect = openai,
): Promise<FastifyReply> {
  const { request, reply } = exchange;
  const { heartbeatMs, streamEvents } = services.limits;
  const { held, prepared } = await begin(services, exchange, order);
  const stream = eventStream({
    format,
    heartbeatMs,
    eventsMax: streamEvents,
    onTooSlow: () => request.log.warn('the reader of a stream is too slow and was cut off'),
  });
  const writer = writerOf(stream, held, prepared);
  const generation = await generate(services, workOf(services, request, prepared, held), writer).catch((error) => {
    stream.body.destroy();
    throw error;
  });
  abortWhenReaderLeaves(reply, generation);
  traceGeneration(services, request, held, generation.outcomes);
  generation.outcomes.then(
    (outcomes) => {
      writer.end?.(outcomes);
      stream.done();
    },
    (cause) => {
      const error = toLorikeetError(cause);
      stream.fail(error, JSON.stringify(errorBody(error)));
      if (!reply.raw.headersSent) return;
      services.metrics.requestFailed(error.code);
      request.log.warn({ code: error.code }, 'stream failed');
    },
  );
  // Until the first token an error is still an ordinary answer with a status, which clients know how to retry.
  await stream.opened;
  if (reply.raw.destroyed) return answerNobody(reply, stream.body);
  return reply.headers(format.headers).send(stream.body);
}

/**
 * Leases the adapters and prepares the work. No code between this and `generate`, which releases the adapters, may
 * throw.
 */
async function begin<P extends Prepared>(
  services: Services,
  { request, reply }: Exchange,
  { adapters, prepare }: Order<P>,
): Promise<{ held: HeldAdapters; prepared: P }> {
  const held = await holdAdapters(services, request, adapters);
  const prepared = await orRelease(held, async () => {
    const made = await prepare(held);
    assertVirtualFits(services, made.asks, held);
    return made;
  });
  reply.headers(digestHeaders(held));
  services.metrics.adaptersAsked(
    { tenant: held.tenant, names: held.adapters.map(({ adapter }) => adapter.name) },
    request.arrivedAt,
  );
  return { held, prepared };
}

/**
 * Throws where an answer could have too many log-probabilities. This is the most that it can have: it may end earlier.
 */
function assertLogprobsFit({ limits }: Services, asks: Prepared['asks']): void {
  const count = asks.reduce((sum, { params, promptTokens, promptLogprobs }) => {
    const generated = params.logprobs === null ? 0 : params.maxTokens * (1 + params.logprobs);
    return sum + generated + (promptLogprobs === undefined ? 0 : promptTokens.length * (1 + promptLogprobs));
  }, 0);
  if (count <= limits.answerLogprobs) return;
  const what = `The answer could have ${count} log-probabilities; at most ${limits.answerLogprobs} are told at once`;
  const message = `${what}. Ask for fewer tokens, choices or alternatives, or for a stream.`;
  throw new LorikeetError('invalid_parameter', { message, param: 'logprobs' });
}

/**
 * Throws where the virtual tokens leave too little context: a prompt has to fit, while an answer may be shorter for
 * them.
 */
function assertVirtualFits(services: Services, asks: Prepared['asks'], held: HeldAdapters): void {
  const virtual = virtualTokensOf(held);
  if (virtual === 0) return;
  const context = services.contextTokens();
  const longest = Math.max(...asks.map(({ promptTokens, pooling }) => promptTokens.length + (pooling ? 0 : 1)));
  if (virtual + longest <= context) return;
  const tokens = Math.max(...asks.map(({ promptTokens }) => promptTokens.length));
  const sizes = `the prompt has ${tokens} tokens, and the adapter ${virtual} virtual ones`;
  const message = `${contextPhrase(context)} However, ${sizes}.`;
  const param = held.adapters.find(({ adapter }) => adapter.virtualTokens !== undefined)!.param;
  throw new LorikeetError('context_length_exceeded', { message, param });
}

type WorkBody = { readonly timeout_ms?: number; readonly cache_salt?: string };

/** Time limit of a request from its arrival, in milliseconds; null: none. */
export function patienceOf(
  { requestTimeoutMs }: Pick<Services, 'requestTimeoutMs'>,
  { body, isBackground }: Pick<FastifyRequest, 'body' | 'isBackground'>,
): number | null {
  // Nobody waits for a background request, so the usual limit does not apply to it.
  const usual = isBackground ? null : requestTimeoutMs;
  return (body as WorkBody | undefined)?.timeout_ms ?? usual;
}

function workOf(services: Services, request: FastifyRequest, { asks }: Prepared, held: HeldAdapters): Work {
  const { tenant, keyPrefix, isBackground } = request;
  const { cache_salt: cacheSalt } = request.body as WorkBody;
  const timeoutMs = patienceOf(services, request);
  return {
    ...{ asks, held, caller: { tenant, keyPrefix, isBackground } },
    ...(timeoutMs === null ? {} : { timeoutMs }),
    ...(cacheSalt === undefined ? {} : { cacheSalt }),
  };
}

function abortWhenReaderLeaves({ raw }: FastifyReply, generation: Generation): void {
  // The reader may have left while the adapters were looked up.
  onClose(raw, () => {
    if (!raw.writableEnded) generation.abort();
  });
}

/** Ends an exchange whose reader has left: sending to a closed connection would be logged as the server's error. */
export function answerNobody(reply: FastifyReply, body: Readable | null): FastifyReply {
  body?.destroy();
  return reply.hijack();
}
