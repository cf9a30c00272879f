// Sampling with a grammar that is asked about a few tokens gives the same as under its whole mask: greedily the same
// tokens, and by draws the same frequencies.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../src/core/clock.ts';
import { type Grammar, maskWords } from '../../src/core/grammar.ts';
import { prng } from '../../src/core/prng.ts';
import { defaultSamplingParams, type SamplingParams } from '../../src/core/sampling-params.ts';
import { argmax } from '../../src/engine/sampling/argmax.ts';
import { applyMask } from '../../src/engine/sampling/grammar-mask.ts';
import { createSampler } from '../../src/engine/sampling/sampler.ts';
import type { Constraint } from '../../src/grammar/grammar-thread.ts';
import { jsonSchemaText } from '../../src/server/generation/structured-output.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { tokenTable } from '../../src/tokenizer/token-table.ts';
import { type Matcher, openGrammars } from '../../src/wasm/grammars.ts';
import { boundedSchema } from '../grammar/schemas.ts';
import { tinyFiles } from '../helpers/tiny-lowered.ts';
import { assertDistributed, probabilities } from './distribution.ts';

const tokenizer = await loadTokenizer(await tinyFiles('llama'), () => assert.fail('no GGUF'));
const table = tokenTable(tokenizer);
const grammars = openGrammars(table, systemClock.monotonic);
/** A model may have more logits than there are tokens. */
const vocabulary = tokenizer.vocabulary + 5;

const grammar: fc.Arbitrary<Grammar> = fc.oneof(
  {
    weight: 4,
    arbitrary: boundedSchema.map((schema) => ({ kind: 'json_schema' as const, text: jsonSchemaText(schema) })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Grammar>(
      { kind: 'regex', text: '(cat|dog)s? [0-9]{2}' },
      { kind: 'regex', text: '.{0,20}' },
      { kind: 'lark', text: 'start: "a" ("b" | "c")+ "."' },
      { kind: 'lark', text: 'start: text "!"\ntext[stop=""]: /[a-z]{0,5}/' },
    ),
  },
);

const isAllowed = (words: Uint32Array, token: number) => ((words[token >> 5]! >>> (token & 31)) & 1) === 1;

function maskOf(matcher: Matcher): Uint32Array {
  const words = new Uint32Array(maskWords(table));
  matcher.mask(words);
  return words;
}

/** A random token of the mask. Ends are rare, since walks would otherwise be short. */
function anyOf(words: Uint32Array, random: () => number): number {
  const allowed = [...Array(tokenizer.vocabulary).keys()].filter((token) => isAllowed(words, token));
  const others = allowed.filter((token) => !table.eosTokens.includes(token));
  const from = others.length > 0 && random() < 0.95 ? others : allowed;
  return from[Math.floor(random() * from.length)]!;
}

test('of any tokens, the first that a mask allows is found, or left to the mask', () => {
  let [found, left] = [0, 0];
  fc.assert(
    fc.property(grammar, fc.integer(), (grammar, seed) => {
      const random = prng(seed);
      const matcher = grammars.create(grammar);
      // A copy that is never masked, as matchers that are only asked about tokens.
      const asked = matcher.copy();
      for (let step = 0; step < 30; step++) {
        const words = maskOf(matcher);
        for (let token = 0; token < vocabulary; token++) {
          const place = asked.first([token]);
          const isFound = token < tokenizer.vocabulary && isAllowed(words, token);
          const mayBeLeft = table.eosTokens.includes(token);
          assert.ok(place === (isFound ? 0 : -1) || (place === -1 && mayBeLeft), `${token} in ${grammar.text}`);
        }
        const tokens = Array.from({ length: 20 }, () => Math.floor(random() * vocabulary));
        const first = tokens.findIndex((token) => token < tokenizer.vocabulary && isAllowed(words, token));
        const hasEnd = tokens.some((token) => table.eosTokens.includes(token));
        if (!hasEnd) assert.equal(asked.first(tokens), first);
        if (first >= 0) found++;
        else left++;
        const token = anyOf(words, random);
        for (const one of [matcher, asked]) one.accept(token);
        if (table.eosTokens.includes(token)) break;
      }
      for (const one of [matcher, asked]) one.release();
    }),
    { numRuns: 60, seed: 11 },
  );
  assert.ok(found > 100 && left > 100, `${found} found, ${left} left`);
});

type Watched = Constraint & { masks: number };

/** A constraint that answers at once what a thread would. */
function constraintOf(matcher: Matcher): Watched {
  const words = new Uint32Array(maskWords(table));
  return {
    ...{ words, isReady: true, error: null, ready: Promise.resolve(), masks: 0 },
    async first(tokens) {
      const place = matcher.first(tokens);
      if (place >= 0) {
        matcher.accept(tokens[place]!);
        return tokens[place]!;
      }
      matcher.mask(words);
      this.masks++;
      return null;
    },
    accept: (token) => matcher.accept(token),
    release: () => matcher.release(),
  };
}

const samplerOf = (params: Partial<SamplingParams>) =>
  createSampler({ ...defaultSamplingParams, seed: 1, stopTokens: [...table.eosTokens], ...params }, [], () => 1);

/** Logits such that the mask allows the best one, a later one, or none of the first many. */
function someLogits(words: Uint32Array, random: () => number): Float32Array {
  const logits = Float32Array.from({ length: vocabulary }, () => 6 * random());
  const lift = [-9, 0, 2][Math.floor(random() * 3)]!;
  for (let token = 0; token < tokenizer.vocabulary; token++) if (isAllowed(words, token)) logits[token]! += lift;
  // Rounding makes equal logits, of which the first is taken.
  return random() < 0.3 ? logits.map(Math.round) : logits;
}

test('greedily it is the largest under the mask, token for token', async () => {
  let [asked, masks] = [0, 0];
  await fc.assert(
    fc.asyncProperty(grammar, fc.integer(), async (grammar, seed) => {
      const random = prng(seed);
      const matcher = grammars.create(grammar);
      const constraint = constraintOf(matcher.copy());
      const sampler = samplerOf({ temperature: 0 });
      for (let step = 0; step < 40; step++) {
        const words = maskOf(matcher);
        const logits = someLogits(words, random);
        const masked = logits.slice();
        applyMask(words, masked);
        const token = await sampler.sampleFormed(logits, constraint);
        assert.equal(token, argmax(masked));
        asked++;
        if (table.eosTokens.includes(token)) break;
        matcher.accept(token);
      }
      masks += constraint.masks;
      constraint.release();
      matcher.release();
    }),
    { numRuns: 80, seed: 3 },
  );
  assert.ok(masks > 50 && asked - masks > 200, `${masks} masks for ${asked} tokens`);
});

test('drawn tokens have the frequencies of the softmax under the mask, however many draws are in vain', async () => {
  const digits = grammars.create({ kind: 'regex', text: '[0-9a-c]{2}' });
  const words = maskOf(digits);
  const random = prng(5);
  const masks = [];
  const isDigit = Array.from(
    { length: vocabulary },
    (_, token) => token < tokenizer.vocabulary && isAllowed(words, token),
  );
  for (const [lift, temperature] of [
    ...[
      [4, 1],
      [0, 1],
      [-6, 1],
      [-6, 0.3],
    ],
    // The weight beside one token is too small to matter: the mask decides.
    [-6, 0.02],
  ] as const) {
    const logits = Float32Array.from(isDigit, (isIn) => 4 * random() + (isIn ? lift : 0));
    logits[isDigit.indexOf(false)] = 12;
    const masked = logits.slice();
    applyMask(words, masked);
    const sampler = samplerOf({ temperature });
    const counts = new Array<number>(vocabulary).fill(0);
    let made = 0;
    const draws = 6000;
    for (let i = 0; i < draws; i++) {
      const constraint = constraintOf(digits.copy());
      counts[await sampler.sampleFormed(logits.slice(), constraint)]!++;
      made += constraint.masks;
      constraint.release();
    }
    masks.push(made / draws);
    assertDistributed(counts, probabilities(masked, { ...defaultSamplingParams, temperature }));
  }
  assert.ok(masks[0]! < 0.05 && masks[4] === 1, `masks a token: ${masks}`);
  assert.ok(masks[2]! > 0.05, `masks a token: ${masks}`);
});

test('what filters leave is cut from the mask, which is asked for ahead', async () => {
  const random = prng(9);
  const matcher = grammars.create({ kind: 'regex', text: '[0-9]{2}' });
  const words = maskOf(matcher);
  const logits = someLogits(words, random);
  const masked = logits.slice();
  applyMask(words, masked);
  const params = { temperature: 1, topP: 0.7 };
  const counts = new Array<number>(vocabulary).fill(0);
  const asked: (readonly number[])[] = [];
  for (let seed = 0; seed < 3000; seed++) {
    const constraint = constraintOf(matcher.copy());
    const { first } = constraint;
    constraint.first = (tokens) => {
      asked.push(tokens);
      return first.call(constraint, tokens);
    };
    counts[await samplerOf({ ...params, seed }).sampleFormed(logits.slice(), constraint)]!++;
    constraint.release();
  }
  assertDistributed(counts, probabilities(masked, { ...defaultSamplingParams, ...params }));
  assert.ok(asked.length === 6000 && asked.every(({ length }) => length === 0));
});
