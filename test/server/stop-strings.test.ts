import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stopStrings } from '../../src/server/generation/stop-strings.ts';

function run(pieces: readonly string[], texts: readonly string[], isKept = false) {
  const matcher = stopStrings({ texts, isKept });
  const released = pieces.map((piece) => matcher.push(piece));
  return { released, text: released.join('') + matcher.flush(), found: matcher.found };
}

test('a stop string across pieces ends the text before it', () => {
  assert.deepEqual(run(['one ', 'E', 'N', 'D two'], ['END']), {
    released: ['one ', '', '', ''],
    text: 'one ',
    found: true,
  });
});

test('a stop string may be kept', () => {
  assert.deepEqual(run(['one E', 'ND two'], ['END'], true), {
    released: ['one ', 'END'],
    text: 'one END',
    found: true,
  });
});

test('what may be the start of a stop string is held back, and comes when it is not', () => {
  assert.deepEqual(run(['aE', 'Nx', 'E'], ['END']).released, ['a', 'ENx', '']);
  assert.equal(run(['aE', 'Nx', 'E'], ['END']).text, 'aENxE');
});

test('the match that ends first wins, the longest of those that end together', () => {
  assert.equal(run(['abcd'], ['abcd', 'bc']).text, 'a');
  assert.equal(run(['abc'], ['bc', 'abc']).text, '');
});

test('without stop strings everything passes at once', () => {
  assert.deepEqual(run(['a', 'b'], []).released, ['a', 'b']);
});

test('the result does not depend on how the text was cut', () => {
  // A small alphabet, so that matches, overlaps and near misses are common.
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 24 });
  const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 });
  const cuts = fc.array(fc.nat(24), { maxLength: 8 });
  fc.assert(
    fc.property(letters, fc.array(stop, { maxLength: 4 }), cuts, (text, stops, at) => {
      const bounds = [0, ...at.map((cut) => Math.min(cut, text.length)).sort((a, b) => a - b), text.length];
      const pieces = bounds.slice(1).map((end, i) => text.slice(bounds[i], end));
      const whole = run([text], stops);
      const cut = run(pieces, stops);
      assert.deepEqual([cut.text, cut.found], [whole.text, whole.found]);
      assert.equal(
        whole.found,
        stops.some((s) => text.includes(s)),
      );
      assert.ok(text.startsWith(whole.text));
      if (whole.found) assert.ok(!stops.some((s) => whole.text.includes(s)));
      else assert.equal(whole.text, text);
    }),
    { numRuns: 2000 },
  );
});
