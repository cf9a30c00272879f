// Sends spans over OTLP, as JSON by HTTP, together every few seconds. A collector that does not answer loses only
// spans.

import { randomBytes } from 'node:crypto';
import type { Timers } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { Span, SpanValue, Tracing } from './tracing.ts';

export type OtlpOptions = {
  /** The collector's URL, without `/v1/traces`. */
  readonly endpoint: string;
  readonly service: string;
  readonly timers: Timers;
  readonly log: { warn(fields: object, message: string): void };
  /** Sends a body of JSON; throws where it is not accepted. */
  readonly send?: (url: string, body: string) => Promise<void>;
};

const periodMs = 5000;
/** Spans that wait to be sent; beyond these, new ones are dropped. */
const spansMax = 2048;

export function otlpTracing({ endpoint, service, timers, log, send = post }: OtlpOptions): Tracing {
  const url = `${endpoint.replace(/\/$/, '')}/v1/traces`;
  const waiting: object[] = [];
  let dropped = 0;
  const flush = async (): Promise<void> => {
    if (waiting.length === 0) return;
    const spans = waiting.splice(0);
    if (dropped > 0) {
      log.warn({ spans: dropped }, `spans were dropped: more than ${spansMax} came before the next sending`);
      dropped = 0;
    }
    const resource = { attributes: [attribute('service.name', service)] };
    const body = { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'lorikeet' }, spans }] }] };
    await send(url, JSON.stringify(body)).catch((error) => {
      log.warn({ err: error, spans: spans.length }, 'spans could not be sent');
    });
  };
  const stop = repeatedly(timers, periodMs, flush);
  return {
    span(span) {
      if (waiting.length < spansMax) waiting.push(spanJson(span));
      else dropped++;
    },
    async close() {
      stop();
      await flush();
    },
  };
}

const sendMsMax = 5000;

async function post(url: string, body: string): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(sendMsMax) });
  await answer.body?.cancel();
  if (!answer.ok) throw new Error(`The collector answered ${answer.status}.`);
}

/** OTLP's codes: the kind of a server's span, the status of an error. */
const [serverKind, errorStatus] = [2, 2];

function spanJson({ name, startedAt, endedAt, traceparent, attributes, error }: Span): object {
  const [, traceId, parentSpanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent ?? '') ?? [];
  return {
    traceId: traceId ?? randomBytes(16).toString('hex'),
    spanId: randomBytes(8).toString('hex'),
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    ...{ name, kind: serverKind, startTimeUnixNano: nanos(startedAt), endTimeUnixNano: nanos(endedAt) },
    attributes: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
    ...(error === null ? {} : { status: { code: errorStatus, message: error } }),
  };
}

const nanos = (ms: number) => `${Math.round(ms * 1000)}000`;

const attribute = (key: string, value: SpanValue) => ({ key, value: valueJson(value) });

function valueJson(value: SpanValue): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value !== 'number') return { arrayValue: { values: value.map((one) => ({ stringValue: one })) } };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
