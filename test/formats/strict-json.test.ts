import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseStrictJson, StrictJsonError } from '../../src/formats/strict-json.ts';

test('any JSON without duplicate keys is what JSON.parse makes of it', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom(undefined, 1, '\t'), (json, indent) => {
      const text = JSON.stringify(JSON.parse(json), null, indent);
      assert.deepEqual(parseStrictJson(text), JSON.parse(text));
    }),
  );
});

test('a duplicate key is refused at any depth and in any spelling', () => {
  const spelled = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const outer = fc.array(fc.constantFrom('list', 'object'), { maxLength: 4 });
  fc.assert(
    fc.property(fc.string(), fc.jsonValue(), outer, (key, value, kinds) => {
      const member = `${JSON.stringify(key)}:${JSON.stringify(value)}`;
      const again = `"${key.split('').map(spelled).join('')}":0`;
      const nest = (inner: string, kind: string) => (kind === 'list' ? `[1,${inner}]` : `{"o":${inner}}`);
      assert.throws(() => parseStrictJson(kinds.reduce(nest, `{${member},${again}}`)), /occurs twice/);
    }),
  );
});

test('the same key in two objects, or as a value, is no duplicate', () => {
  for (const text of [
    '[{"a":1},{"a":2}]',
    '{"a":{"a":{"a":"a"}}}',
    '{"a":["a","a"],"b":"a"}',
    '{"a":"\\"b\\":1","b":1}',
  ]) {
    assert.deepEqual(parseStrictJson(text), JSON.parse(text));
  }
});

test('natural numbers only, where asked for', () => {
  assert.deepEqual(parseStrictJson('{"a":[0,12,"-1.5"]}', { naturalNumbers: true }), { a: [0, 12, '-1.5'] });
  for (const number of ['-1', '-0', '1.0', '1e3', '0.5']) {
    assert.throws(() => parseStrictJson(`[${number}]`, { naturalNumbers: true }), /not a natural number/);
    assert.deepEqual(parseStrictJson(`[${number}]`), [Number(number)]);
  }
});

test('what is not JSON is refused with an error of its own', () => {
  for (const text of ['', '{', '{"a":1,}', 'NaN', '"\n"']) assert.throws(() => parseStrictJson(text), StrictJsonError);
});

test('depth and length cost no stack', () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  assert.ok(Array.isArray(parseStrictJson(deep)));
  const long = JSON.stringify({ key: 'x"\\'.repeat(500_000) });
  assert.equal((parseStrictJson(long) as { key: string }).key.length, 1_500_000);
});
