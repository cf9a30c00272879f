import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemTimers } from '../../src/core/clock.ts';
import { otlpTracing } from '../../src/tracing/otlp.ts';
import type { Span } from '../../src/tracing/tracing.ts';
import { testApp } from '../helpers/app.ts';

test('a generation is a span: tokens, weights, the caller’s trace, never a text', async (t) => {
  const spans: Span[] = [];
  const tracing = { span: (span: Span) => void spans.push(span), close: async () => {} };
  const { post, registry, engine } = await testApp(t, { says: 'an answer', deps: { tracing } });
  await registry.add('a');
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
  const messages = [{ role: 'user', content: 'a question' }];
  await post('/v1/chat/completions', { model: 'a', messages }, { traceparent });
  await post('/v1/generate', { prompt: 'a question', stream: true });
  engine.failure = { code: 'engine_failed', message: 'x' };
  await post('/v1/completions', { prompt: 'a question' });
  assert.deepEqual(
    spans.map(({ name, traceparent: parent, error }) => [name, parent, error]),
    [
      ['chat a', traceparent, null],
      ['text_completion tiny', null, null],
      ['text_completion tiny', null, 'engine_failed'],
    ],
  );
  const [first] = spans;
  assert.equal(first!.attributes['gen_ai.usage.output_tokens'], 9);
  assert.deepEqual(first!.attributes['gen_ai.response.finish_reasons'], ['stop']);
  assert.ok(first!.endedAt >= first!.startedAt);
  assert.doesNotMatch(JSON.stringify(spans), /a question|an answer/);
});

const plainSpan: Span = {
  ...{ name: 'n', startedAt: 0, endedAt: 1, error: null, traceparent: null },
  attributes: {},
};

test('spans beyond the limit are told once, also where the others are sent', async () => {
  const sent: number[] = [];
  const warnings: object[] = [];
  const log = { warn: (fields: object, message: string) => void warnings.push({ ...fields, message }) };
  const send = async (_url: string, body: string) => {
    sent.push(JSON.parse(body).resourceSpans[0].scopeSpans[0].spans.length);
  };
  const tracing = otlpTracing({ endpoint: 'http://collector:4318', service: 's', timers: systemTimers, log, send });
  for (let i = 0; i < 2050; i++) tracing.span(plainSpan);
  await tracing.close();
  tracing.span(plainSpan);
  await tracing.close();
  assert.deepEqual(sent, [2048, 1]);
  assert.deepEqual(warnings, [
    { spans: 2, message: 'spans were dropped: more than 2048 came before the next sending' },
  ]);
});

test('spans go out together in OTLP’s form, and a collector that is not there costs nothing', async () => {
  const sent: { url: string; body: string }[] = [];
  const warnings: string[] = [];
  const log = { warn: (_: object, message: string) => void warnings.push(message) };
  const send = async (url: string, body: string) => void sent.push({ url, body });
  const options = { endpoint: 'http://collector:4318/', service: 's', timers: systemTimers, log };
  const tracing = otlpTracing({ ...options, send });
  const span: Span = {
    ...{ name: 'n', startedAt: 1_700_000_000_000.5, endedAt: 1_700_000_000_001, error: 'code' },
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    attributes: { text: 'x', whole: 3, half: 0.5, yes: true, list: ['a', 'b'] },
  };
  tracing.span(span);
  tracing.span({ ...span, traceparent: 'nonsense', error: null });
  await tracing.close();
  assert.equal(sent[0]!.url, 'http://collector:4318/v1/traces');
  const { resourceSpans } = JSON.parse(sent[0]!.body);
  const [first, second] = resourceSpans[0].scopeSpans[0].spans;
  assert.deepEqual([first.traceId, first.parentSpanId], ['a'.repeat(32), 'b'.repeat(16)]);
  assert.equal(first.startTimeUnixNano, '1700000000000500000');
  assert.deepEqual(
    first.attributes.map(({ value }: { value: object }) => value),
    [
      { stringValue: 'x' },
      { intValue: '3' },
      { doubleValue: 0.5 },
      { boolValue: true },
      { arrayValue: { values: [{ stringValue: 'a' }, { stringValue: 'b' }] } },
    ],
  );
  assert.deepEqual(first.status, { code: 2, message: 'code' });
  assert.match(second.traceId, /^[0-9a-f]{32}$/);
  assert.ok(!('parentSpanId' in second) && !('status' in second));
  const lost = otlpTracing({ ...options, endpoint: 'http://127.0.0.1:1' });
  lost.span(span);
  await lost.close();
  assert.deepEqual(warnings, ['spans could not be sent']);
});
