import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { withFoldedSeeds } from '../../src/core/folded-seeds.ts';
import { assertPlainJson } from '../../src/core/plain-json.ts';

const limits = { jsonDepth: 4, jsonMembers: 3 };
const isPlain = (text: string): boolean => {
  try {
    assertPlainJson(text, limits);
    return true;
  } catch (error) {
    assert.equal((error as { code: string }).code, 'invalid_json');
    return false;
  }
};

function shapeOf(value: unknown): { depth: number; members: number; opened: number } {
  if (typeof value !== 'object' || value === null) return { depth: 0, members: 0, opened: 0 };
  const inner = Object.values(value).map(shapeOf);
  return {
    depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
    members: inner.reduce((sum, { members }) => sum + members, Array.isArray(value) ? 0 : Object.keys(value).length),
    opened: inner.reduce((sum, { opened }) => sum + opened, 1),
  };
}

test('depth, members, lists and objects are those of the value, whatever its texts hold', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      const { depth, members, opened } = shapeOf(value);
      const fits = depth <= limits.jsonDepth && Math.max(members, opened) <= limits.jsonMembers;
      assert.equal(isPlain(JSON.stringify(value)), fits);
    }),
  );
});

test('texts hide brackets and end at their own quote; text that is no JSON ends, too', () => {
  for (const text of ['"[[[[[[{:::::"', '["\\\\","[[[[["]', '"\\"[[[[["', '["\\\\\\"[[[[["]', '"[[[[[', '"\\', '']) {
    assert.ok(isPlain(text), text);
  }
  for (const text of ['[[],[],[]]', '[{},[],{}]', '[[[[[', '["\\\\",[[[[1]]]]]', '{"a":1,"b":2,"c":3,"d":4}'])
    assert.ok(!isPlain(text), text);
});

test('seeds of 64 bits are folded, as members alone; neighbours stay apart', () => {
  const folded = (text: string) => JSON.parse(withFoldedSeeds(text));
  const seeds = ['9223372036854775807', '9223372036854775806', '-9223372036854775808', '9007199254740993'];
  const made = seeds.map((seed) => folded(`{"a":{ "seed" : ${seed} }}`).a.seed as number);
  assert.equal(new Set(made).size, seeds.length);
  for (const seed of made) assert.ok(Number.isSafeInteger(seed));
  for (const text of [
    '{"seed":5}',
    '{"seed":9007199254740991}',
    '{"seed":92233720368547758080}',
    '{"seed":9223372036854775808}',
    '{"seed":1234567890123456789.5}',
    '{"prompt":"\\"seed\\":1234567890123456789"}',
    '{"a\\"seed":1234567890123456789}',
    '["seed",1234567890123456789]',
  ]) {
    assert.equal(withFoldedSeeds(text), text);
  }
});
