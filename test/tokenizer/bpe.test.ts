// Merging by a queue equals merging by the rule. Also tests the parts around it.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { createAddedSplit } from '../../src/tokenizer/added-tokens.ts';
import { createBpe } from '../../src/tokenizer/bpe.ts';
import { createPreTokenizer } from '../../src/tokenizer/pre-tokenizer.ts';

/** Merges by the rule itself: finds the leftmost pair of the lowest rank, merges it, and starts again. */
function mergeSlowly(symbols: string[], ranks: ReadonlyMap<string, number>): string[] {
  let best = { rank: Number.POSITIVE_INFINITY, at: -1 };
  for (let at = 0; at + 1 < symbols.length; at++) {
    const rank = ranks.get(`${symbols[at]} ${symbols[at + 1]}`);
    if (rank !== undefined && rank < best.rank) best = { rank, at };
  }
  if (best.at < 0) return symbols;
  return mergeSlowly(symbols.toSpliced(best.at, 2, symbols[best.at]! + symbols[best.at + 1]!), ranks);
}

it('merges the lowest rank first, and the leftmost of equals', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 24 });
  const picks = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 24 });
  fc.assert(
    fc.property(letters, picks, (text, pairs) => {
      const tokens = ['a', 'b', 'c'];
      const merges: [string, string][] = [];
      for (const [left, right] of pairs) {
        const pair: [string, string] = [tokens[left % tokens.length]!, tokens[right % tokens.length]!];
        if (tokens.includes(pair.join(''))) continue;
        merges.push(pair);
        tokens.push(pair.join(''));
      }
      const vocabulary = new Map(tokens.map((token, id) => [token, id]));
      const model = { type: 'BPE' as const, vocab: Object.fromEntries(vocabulary), merges };
      const expected = mergeSlowly([...text], new Map(merges.map((pair, rank) => [pair.join(' '), rank])));
      assert.deepEqual(
        createBpe(model, vocabulary, false)(text).map((id) => tokens[id]),
        expected,
      );
    }),
    { numRuns: 500 },
  );
});

it('merges a word of a hundred thousand letters at once', () => {
  const tokens = ['a', 'aa', 'aaaa'];
  const vocabulary = new Map(tokens.map((token, id) => [token, id]));
  const merges = ['a a', 'aa aa'];
  const encode = createBpe({ type: 'BPE', vocab: Object.fromEntries(vocabulary), merges }, vocabulary, false);
  assert.equal(encode('a'.repeat(100_000)).length, 25_000);
});

it('takes the unknown token, once where unknown ones are fused, or nothing', () => {
  const vocabulary = new Map([['a', 1]]);
  const model = { type: 'BPE' as const, vocab: { '?': 0, a: 1 }, merges: [] };
  assert.deepEqual(createBpe(model, vocabulary, false)('xyax'), [1]);
  assert.deepEqual(createBpe({ ...model, unk_token: '?' }, vocabulary, false)('xyax'), [0, 0, 1, 0]);
  assert.deepEqual(createBpe({ ...model, unk_token: '?', fuse_unk: true }, vocabulary, false)('xyax'), [0, 1, 0]);
});

it('finds the leftmost and longest added token, and the spaces it takes along', () => {
  const split = createAddedSplit([
    { id: 1, content: '<a>' },
    { id: 2, content: '<a><b>' },
    { id: 3, content: '[m]', lstrip: true, rstrip: true },
  ]);
  assert.deepEqual(split('x<a><b>y<a>'), ['x', 2, 'y', 1]);
  assert.deepEqual(split('x \n[m]\u3000 y'), ['x', 3, 'y']);
  assert.deepEqual(split(' [m] [m]'), [3, 3]);
  assert.deepEqual(split(''), []);
});

it('splits as the behaviours of Split say', () => {
  const split = (change: object) =>
    createPreTokenizer([{ type: 'Split', pattern: { String: '-' }, behavior: 'Isolated', ...change }]).split(
      'a-b--c',
      true,
    );
  assert.deepEqual(split({}), ['a', '-', 'b', '-', '-', 'c']);
  assert.deepEqual(split({ behavior: 'Removed' }), ['a', 'b', 'c']);
  assert.deepEqual(split({ behavior: 'Removed', invert: true }), ['-', '-', '-']);
  assert.deepEqual(split({ behavior: 'MergedWithPrevious' }), ['a-', 'b-', '-', 'c']);
});

it('marks spaces as Metaspace says', () => {
  const split = (text: string, first: boolean, change: object) =>
    createPreTokenizer([{ type: 'Metaspace', replacement: '_', ...change }]).split(text, first);
  assert.deepEqual(split('a  b', true, {}), ['_a', '_', '_b']);
  assert.deepEqual(split('a b', false, { prepend_scheme: 'first', split: false }), ['a_b']);
  assert.deepEqual(split('a b', true, { prepend_scheme: 'first', split: false }), ['_a_b']);
  assert.deepEqual(split('a', true, { prepend_scheme: 'never' }), ['a']);
});
