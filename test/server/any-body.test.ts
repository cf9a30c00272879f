// Any JSON body gets an answer or a refusal with a code: never a 500, and the server stays up.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { errorTable } from '../../src/core/errors.ts';
import { ChatBody } from '../../src/server/schemas/chat.ts';
import { CompletionsBody } from '../../src/server/schemas/completions.ts';
import { GenerateBody } from '../../src/server/schemas/generate.ts';
import { eventsOf, testApp } from '../helpers/app.ts';

/** Values near the bounds of the schemas, and arbitrary ones. */
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(0, -1, 1, 2, 16, 1e308, -0, 0.5, 2 ** 53, '', 'x', '\ud800', '\u0000', true, false, null, [], {}),
  fc.array(fc.integer({ min: -1, max: 300 }), { maxLength: 8 }),
  fc.array(fc.string(), { maxLength: 20 }),
  fc.dictionary(fc.string(), fc.integer()),
  fc.array(fc.record({ role: fc.constantFrom('user', 'tool', 'x'), content: fc.oneof(fc.string(), fc.jsonValue()) })),
);

const bodies = (valid: object, properties: object) =>
  fc
    .dictionary(fc.oneof(fc.constantFrom(...Object.keys(properties)), fc.string()), value, { maxKeys: 4 })
    .map((fields) => ({ ...valid, ...fields }));

const routes: [string, fc.Arbitrary<object>][] = [
  ['/v1/generate', bodies({ prompt: 'x' }, GenerateBody.properties)],
  ['/v1/completions', bodies({ prompt: 'x' }, CompletionsBody.properties)],
  ['/v1/chat/completions', bodies({ messages: [{ role: 'user', content: 'x' }] }, ChatBody.properties)],
];

for (const [url, body] of routes) {
  test(`${url} survives any body`, async (t) => {
    const { post } = await testApp(t, { maxContext: 64, says: 'ok' });
    let good = 0;
    const survives = async (sent: object) => {
      const answer = await post(url, sent);
      if (answer.statusCode === 200) {
        good++;
        const isStream = String(answer.headers['content-type']).startsWith('text/event-stream');
        if (isStream) assert.equal(eventsOf(answer.body).at(-1), '[DONE]');
        else assert.ok(answer.json().id);
        return;
      }
      assert.ok(answer.statusCode < 500, answer.body);
      const { error } = answer.json();
      assert.equal(errorTable[error.code as keyof typeof errorTable].status, answer.statusCode);
    };
    await fc.assert(fc.asyncProperty(body, survives), { numRuns: 250 });
    assert.ok(good > 10, `only ${good} bodies were good: the others hide what is behind the schema`);
  });
}

/** JSON whose work or memory is far more than its length suggests. */
const hostile: Record<string, string> = {
  'a deep list': `{"prompt":${'['.repeat(300_000)}${']'.repeat(300_000)}}`,
  'a deep object': `{"metadata":${'{"a":'.repeat(300_000)}1${'}'.repeat(300_000)}}`,
  'a body that is nothing but depth': '['.repeat(300_000) + ']'.repeat(300_000),
  'names without end': `{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":1`).join(',')}}`,
  'few names, and too many here': `{${Array.from({ length: 2000 }, (_, i) => `"k${i}":1`).join(',')}}`,
  'lists without end': `{"prompt":"x","input":[${Array(200_000).fill('[]').join(',')}]}`,
  'objects without end': `{"prompt":[${Array(200_000).fill('{}').join(',')}]}`,
  'a long name': `{"${'k'.repeat(1_000_000)}":1}`,
  'a name that is no text': '{"prompt":"x","messages":[{"role":"user","content":"x"}],"\\ud800":1}',
  'a deep text of a schema': JSON.stringify({
    ...{ prompt: 'x', messages: [{ role: 'user', content: 'x' }] },
    structured_outputs: { json: '{"a":'.repeat(100_000) },
  }),
  'deep arguments of a call': JSON.stringify({
    messages: [
      { role: 'user', content: 'x' },
      {
        role: 'assistant',
        tool_calls: [
          { id: 'c', type: 'function', function: { name: 'f', arguments: '['.repeat(9e4) + ']'.repeat(9e4) } },
        ],
      },
    ],
  }),
};

test('JSON that is far more than it looks like is refused on every route, in few words', async (t) => {
  const { app } = await testApp(t, { maxContext: 64, says: 'ok' });
  const urls = ['/v1/generate', '/v1/completions', '/v1/chat/completions', '/v1/responses', '/v1/embeddings'];
  urls.push(
    '/v1/messages',
    '/generate',
    '/api/chat',
    '/tokenize',
    '/v1/fine_tuning/jobs',
    '/v1/batches',
    '/v1/adapters',
  );
  const headers = { 'content-type': 'application/json' };
  for (const [what, payload] of Object.entries(hostile)) {
    for (const url of urls) {
      const { statusCode, body, headers: said } = await app.inject({ method: 'POST', url, payload, headers });
      assert.ok(statusCode < 500, `${what} at ${url}: ${body}`);
      assert.ok(body.length + JSON.stringify(said).length < 10_000, `${what} at ${url}: ${body.length} characters`);
    }
  }
});

test('a list that is too long is refused by its length: nobody looks at its elements first', async (t) => {
  const { post } = await testApp(t, { maxContext: 64, says: 'ok' });
  // An element that no schema takes stands at the end of each.
  const long = [...Array<unknown>(100).fill(1), -1];
  const many = [...Array<unknown>(1000).fill('x'), -1];
  const tooLong = 'context_length_exceeded';
  const cases: [string, object, string, string][] = [
    ['/v1/generate', { prompt: long }, tooLong, 'prompt has 101 tokens, and the output needs room too'],
    ['/v1/completions', { prompt: long }, tooLong, 'prompt has 101 tokens, and the output needs room too'],
    ['/v1/completions', { prompt: [[1], long] }, tooLong, 'prompt[1] has 101 tokens, and the output needs room too'],
    ['/detokenize', { tokens: long }, tooLong, 'tokens has 101 tokens, and the output needs room too'],
    ['/v1/embeddings', { model: 'tiny', input: long }, tooLong, 'input has 101 tokens'],
    ['/v1/embeddings', { model: 'tiny', input: ['x', long] }, tooLong, 'input[1] has 101 tokens'],
    ['/v1/completions', { prompt: many }, 'invalid_parameter', 'prompt has 1001 texts; at most 128'],
    ['/v1/embeddings', { model: 'tiny', input: many }, 'invalid_parameter', 'input has 1001 texts; at most 256'],
  ];
  for (const [url, body, code, message] of cases) {
    const { statusCode, body: said } = await post(url, body);
    const { error } = JSON.parse(said);
    assert.deepEqual([statusCode, error.code], [400, code], said);
    assert.ok(error.message.includes(message), said);
  }
});

test('of a list that may have several forms the element is blamed at which the fitting form ends', async (t) => {
  const { post } = await testApp(t, { maxContext: 64, says: 'ok' });
  const cases: [unknown, string][] = [
    [[1, -1], 'prompt[1] must be >= 0.'],
    [['a', 1], 'prompt[1] must be string.'],
    [[[1], 'x'], 'prompt[1] must be array.'],
    [[[1], [1.5]], 'prompt[1][0] must be integer.'],
    [[...Array(11).fill('x'), null], 'prompt[11] must be string.'],
  ];
  for (const [prompt, message] of cases) {
    const { error } = (await post('/v1/completions', { prompt })).json();
    assert.deepEqual([error.code, error.message], ['invalid_parameter', message]);
  }
});
