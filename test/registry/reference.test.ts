import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { isAdapterName, isAliasName, parseReference } from '../../src/registry/reference.ts';

test('names', () => {
  for (const name of ['a', '7', 'org/style', 'a.b_c-d/e', 'A'.repeat(127)]) assert.ok(isAdapterName(name), name);
  const refused = [
    '',
    '/a',
    '.a',
    '-a',
    'a/',
    'a//b',
    '../a',
    'a/../b',
    'a..b',
    'a b',
    'a:b',
    'a@1',
    'a,b',
    'ä',
    'a\n',
  ];
  for (const name of [...refused, 'A'.repeat(128), 'a\\b', 'a\0'])
    assert.ok(!isAdapterName(name), JSON.stringify(name));
  for (const alias of ['prod', 'v1.2', 'a_b-c']) assert.ok(isAliasName(alias), alias);
  for (const alias of ['', 'a/b', '.a', 'a..b', 'a:b', 'a@b', 'a'.repeat(64)]) assert.ok(!isAliasName(alias), alias);
});

test('references', () => {
  assert.deepEqual(parseReference('a/b'), { name: 'a/b', version: null, alias: null });
  assert.deepEqual(parseReference('a/b@12'), { name: 'a/b', version: 12, alias: null });
  assert.deepEqual(parseReference('a/b:prod'), { name: 'a/b', version: null, alias: 'prod' });
  const none = ['', '@1', ':prod', 'a@', 'a:', 'a@0', 'a@01', 'a@1.0', 'a@-1', 'a@x', 'a@1:prod', 'a:prod@1', 'a:p:q'];
  for (const text of [...none, 'a@1234567890', '../a', 'a:b/c']) assert.equal(parseReference(text), null, text);
});

test('any text is a reference that reads back as itself, or none', () => {
  const text = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[a-c./@:1]{0,12}$/),
    fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,130}(@[0-9]{0,10}|:[a-z.]{0,4})?$/),
  );
  fc.assert(
    fc.property(text, (text) => {
      const reference = parseReference(text);
      if (reference === null) return;
      const { name, version, alias } = reference;
      assert.ok(isAdapterName(name) && !(version !== null && alias !== null));
      assert.equal(name + (version === null ? '' : `@${version}`) + (alias === null ? '' : `:${alias}`), text);
    }),
    { numRuns: 2000 },
  );
});
