import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../../src/core/prng.ts';
import { GuessRates } from '../../../src/engine/speculation/guess-rates.ts';
import { guessesAfter } from '../../../src/engine/speculation/guesses.ts';
import { PastTexts } from '../../../src/engine/speculation/past-texts.ts';
import { TextGuesser } from '../../../src/engine/speculation/text-guesser.ts';
import { leastTokens, TokenIndex, textEnd } from '../../../src/engine/speculation/token-index.ts';

function indexOf(tokens: readonly number[], tokensMax = 4096): TokenIndex {
  const index = new TokenIndex(tokensMax);
  for (const token of tokens) index.push(token);
  return index;
}

const guessed = (index: TokenIndex, text: readonly number[], most = 8) =>
  [...guessesAfter(index, text, text.length).take(most)].map(({ token, matched, agreement }) => [
    ...[token, matched, agreement],
  ]);

test('places are those that a search of all tokens finds, the latest first, as long as they stay', () => {
  const random = prng(3);
  const sums = { found: 0, expected: 0 };
  const below = (end: number) => Math.floor(random() * end);
  for (let round = 0; round < 200; round++) {
    // Few tokens, so that each stands in many places, and many places share a hash.
    const tokens = Array.from({ length: 2 + below(3 * leastTokens) }, () => below(5) - 1);
    const text = Array.from({ length: 2 + below(10) }, () => below(4));
    const index = indexOf(tokens, 2 * leastTokens);
    assert.equal(index.end, tokens.length);
    assert.ok(index.bytes <= 2 * leastTokens * 12);
    const kept = Math.min(tokens.length, 2 * leastTokens);
    const expected: { at: number; matched: number }[] = [];
    for (let at = tokens.length - 1; at > tokens.length - kept; at--) {
      let matched = 0;
      const agrees = () => at - 1 - matched >= tokens.length - kept && matched < text.length;
      while (agrees() && tokens[at - 1 - matched] === text[text.length - 1 - matched]) matched++;
      if (matched >= 2) expected.push({ at, matched });
    }
    const found = index.places(text, text.length);
    assert.deepEqual(found, expected.slice(0, found.length));
    sums.found += found.length;
    sums.expected += Math.min(expected.length, 16);
  }
  // Sixteen places are looked at, some of which only share the hash.
  assert.ok(sums.found > sums.expected / 2, JSON.stringify(sums));
});

test('what stood before is guessed again, up to the end of its text, and what repeats itself goes on', () => {
  assert.deepEqual(guessed(indexOf([1, 2, 3, 4, 5, 9, textEnd]), [7, 2, 3]), [
    ...[
      [4, 2, 'one'],
      [5, 3, 'one'],
      [9, 4, 'one'],
    ],
  ]);
  assert.deepEqual(guessed(indexOf([1, 2, 3]), [1, 2, 4]), []);
  assert.deepEqual(guessed(indexOf([1]), [1]), []);
  const looping = [8, 1, 2, 1, 2, 1];
  assert.deepEqual(
    guessed(indexOf(looping), looping, 5).map(([token]) => token),
    [2, 1, 2, 1, 2],
  );
});

test('of several places most have it, those that fewer tokens lead to not', () => {
  const index = indexOf([5, 1, 2, 7, 8, textEnd, 5, 1, 2, 7, 9, textEnd, 5, 1, 2, 6, textEnd]);
  assert.deepEqual(guessed(index, [5, 1, 2], 2), [
    [7, 3, 'most'],
    // Among equal votes the latest place decides.
    [9, 4, 'some'],
  ]);
  const longer = indexOf([1, 2, 3, 4, 5, 6, textEnd, 9, 4, 5, 7, textEnd]);
  assert.deepEqual(guessed(longer, [1, 2, 3, 4, 5], 1), [[6, 5, 'one']]);
});

test('right guesses make the next more likely, wrong ones less, computed ahead or not', () => {
  const copied = Array.from({ length: 40 }, (_, i) => i);
  const text = [...copied, 100, 0, 1];
  const guesser = new TextGuesser(text, null);
  const [before] = guesser.guesses(1);
  assert.deepEqual(before!.tokens, [2]);
  const seen = { matched: 2, agreement: 'one', token: 2 } as const;
  const rates = new GuessRates();
  const chance = rates.chance(seen);
  assert.equal(before!.chances[0], chance);
  for (const token of copied.slice(2, 20)) {
    text.push(token);
    guesser.guesses(1);
  }
  text.push(200, 0, 1);
  assert.ok(guesser.guesses(1)[0]!.chances[0]! > chance);
  for (let i = 0; i < 20; i++) {
    text.push(300 + i, 0, 1);
    guesser.guesses(1);
  }
  assert.ok(guesser.guesses(1)[0]!.chances[0]! < chance);
});

test('past texts are bounded: who has most gives up what was used least recently', () => {
  const texts = new PastTexts(6 * (4096 + 12 * leastTokens));
  const text = Array.from({ length: 100 }, (_, i) => i);
  texts.add('small', 'only', text);
  for (let i = 0; i < 5; i++) texts.add('large', `${i}`, text);
  assert.ok(texts.shelf('large', '0') !== null);
  texts.add('large', '5', text);
  assert.equal(texts.shelf('large', '1'), null);
  assert.ok(texts.shelf('large', '0') !== null && texts.shelf('small', 'only') !== null);
  // A full shelf holds the latest texts.
  for (let i = 0; i < 1000; i++) {
    texts.add(
      'large',
      'long',
      Array.from({ length: 100 }, (_, j) => 100 * i + j),
    );
    assert.ok(texts.bytes <= 6 * (4096 + 12 * leastTokens));
  }
  const { index } = texts.shelf('large', 'long')!;
  assert.deepEqual(guessed(index, [99_950, 99_951], 1), [[99_952, 2, 'one']]);
  assert.deepEqual(guessed(index, [50, 51]), []);
  assert.ok(texts.shelf('small', 'only') !== null);
});

test('without memory nothing stays', () => {
  for (const bytes of [0, 1000, 4 * 4096]) {
    const texts = new PastTexts(bytes);
    texts.add('one', 'shelf', [1, 2, 3]);
    assert.equal(texts.shelf('one', 'shelf'), null);
    assert.equal(texts.bytes, 0);
  }
});
