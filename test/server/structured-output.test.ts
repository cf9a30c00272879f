// The fields that ask for a form of the output, and the grammar that reaches the engine.

import assert from 'node:assert/strict';
import test from 'node:test';
import { asciiClasses, escapeRegex, larkOf } from '../../src/server/generation/grammar-texts.ts';
import { jsonSchemaText, structureOf } from '../../src/server/generation/structured-output.ts';
import { testApp } from '../helpers/app.ts';

const schema = { type: 'object', properties: { a: { type: 'string', pattern: '^\\d{2}$' } } };

test('every name for a form reaches the engine, on every route', async (t) => {
  const { post, engine } = await testApp(t, { says: 'x' });
  const forms: readonly (readonly [object, string, RegExp])[] = [
    [{ response_format: { type: 'json_object' } }, 'json_schema', /"type":"object"/],
    [{ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } }, 'json_schema', /\[0-9\]\{2\}/],
    [{ guided_json: JSON.stringify(schema) }, 'json_schema', /"whitespace_pattern"/],
    [{ guided_choice: ['a.b', 'c'] }, 'regex', /^a\\\.b\|c$/],
    [{ guided_regex: '[ab]+' }, 'regex', /^\[ab\]\+$/],
    [{ guided_grammar: 'root ::= "x"' }, 'lark', /^start : "x"$/],
    [
      { structured_outputs: { json: schema, disable_any_whitespace: true } },
      'json_schema',
      /"whitespace_flexible":false/,
    ],
    [{ structured_outputs: { regex: 'a' } }, 'regex', /^a$/],
    [{ structured_outputs: { choice: ['x'] } }, 'regex', /^x$/],
    [{ structured_outputs: { grammar: 'start: "x"' } }, 'lark', /^start: "x"$/],
    [{ structured_outputs: { json_object: true } }, 'json_schema', /"type":"object"/],
  ];
  const routes: readonly (readonly [string, object])[] = [
    ['/v1/generate', { prompt: 'p' }],
    ['/v1/completions', { prompt: 'p' }],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'p' }] }],
  ];
  for (const [url, body] of routes) {
    for (const [form, kind, text] of forms) {
      const response = await post(url, { ...body, ...form });
      assert.equal(response.statusCode, 200, `${url} ${JSON.stringify(form)} ${response.body}`);
      const { grammar } = engine.submitted.at(-1)!;
      assert.equal(grammar?.kind, kind);
      assert.match(grammar!.text, text);
    }
    await post(url, body);
    assert.equal(engine.submitted.at(-1)!.grammar ?? null, null);
  }
});

test('patterns are ASCII, data stays what it is', () => {
  assert.equal(asciiClasses('\\d[\\d_]\\w\\D\\\\d[\\]\\d]'), '[0-9][0-9_][A-Za-z0-9_][^0-9]\\\\d[\\]0-9]');
  const text = jsonSchemaText({
    ...{ const: { pattern: '\\d' }, enum: ['\\d'], properties: { pattern: { pattern: '\\d' } } },
    patternProperties: { '\\d': {} },
  });
  const { 'x-guidance': _, ...rest } = JSON.parse(text);
  assert.deepEqual(rest, {
    ...{ const: { pattern: '\\d' }, enum: ['\\d'], properties: { pattern: { pattern: '[0-9]' } } },
    patternProperties: { '[0-9]': {} },
  });
  assert.equal(escapeRegex('a/b\n(1|2)'), 'a\\/b\\n\\(1\\|2\\)');
});

test('a grammar by rules becomes Lark', () => {
  const lark = larkOf('root ::= my-item ("," my-item)* # list\nmy-item ::= [a-z/]+\n  | "x::=y" [0-9]');
  assert.equal(lark, 'start : r_my_item ("," r_my_item)* \nr_my_item : /[a-z\\/]/+\n  | "x::=y" /[0-9]/');
  assert.throws(() => larkOf('a ::= "b"'), /no rule root/);
});

test('two forms exclude each other, by their names', () => {
  assert.throws(() => structureOf({ guided_regex: 'a', guided_choice: ['b'] }), /guided_regex and guided_choice/);
  assert.throws(() => structureOf({ guided_json: '{' }), /guided_json: The schema is not valid JSON/);
  assert.throws(() => structureOf({ guided_json: { 'x-guidance': {} } }), /x-guidance/);
  assert.equal(structureOf({ response_format: { type: 'text' } }), null);
});
