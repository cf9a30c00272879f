import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { prng } from '../../src/core/prng.ts';
import { defaultSamplingParams, type SamplingParams } from '../../src/core/sampling-params.ts';
import { argmax } from '../../src/engine/sampling/argmax.ts';
import { logprobsOf, logprobsOfTop } from '../../src/engine/sampling/logprobs.ts';
import { createSampler } from '../../src/engine/sampling/sampler.ts';
import { assertDistributed, probabilities } from './distribution.ts';
import { topOf } from './top-of.ts';

const samplerOf = (params: Partial<SamplingParams>, prompt: readonly number[] = []) =>
  createSampler({ ...defaultSamplingParams, seed: 1, ...params }, prompt, () => assert.fail('a seed was given'));

/** @param best number of best logits that a draw begins with; by default the whole row */
function countsOf(logits: Float32Array, params: Partial<SamplingParams>, draws: number, best?: number): number[] {
  const sampler = samplerOf(params);
  const counts = new Array<number>(logits.length).fill(0);
  const top = best === undefined ? null : topOf(logits, best, params.temperature ?? 1);
  for (let i = 0; i < draws; i++) counts[(top && sampler.sampleTop(top)) ?? sampler.sample(logits)]!++;
  return counts;
}

const random = prng(5);
const uneven = Float32Array.from({ length: 24 }, () => random() * 6 - 3);

const mixtures: readonly Partial<SamplingParams>[] = [
  { temperature: 1 },
  { temperature: 0.3 },
  { temperature: 2 },
  { topK: 1 },
  { topK: 5, temperature: 1.5 },
  { topK: 100 },
  { topP: 0.5 },
  { topP: 0.95, temperature: 1.3 },
  { topP: 1e-6 },
  { minP: 0.2 },
  { minP: 1 },
  { topK: 8, topP: 0.8 },
  { topK: 8, topP: 0.8, minP: 0.05, temperature: 1.7 },
  { minP: 0.3, topP: 0.9 },
];
for (const [i, mixture] of mixtures.entries()) {
  test(`draws follow the definition: ${JSON.stringify(mixture)}`, () => {
    const params = { ...defaultSamplingParams, ...mixture, seed: 100 + i };
    assertDistributed(countsOf(uneven, params, 20_000), probabilities(uneven, params));
    // From 12, 3 or 24 best logits, which decide nearly always, seldom, and always.
    for (const best of [12, 3, 24])
      assertDistributed(countsOf(uneven, params, 20_000, best), probabilities(uneven, params));
  });
}

test('a wrong definition would be found out', () => {
  const counts = countsOf(uneven, { temperature: 1 }, 20_000);
  assert.throws(() => assertDistributed(counts, probabilities(uneven, { ...defaultSamplingParams, temperature: 1.1 })));
});

// Tokens beyond the sampler's first look: each has next to no probability, and all together have three in a thousand.
// Their bound, which decides how often the sampler looks at them, is four times that.
const rare = 120_000;
const flatTail = Float32Array.from({ length: 2 + rare }, (_, i) => (i < 2 ? -i : i % 2 === 0 ? -17 : -18));

/** Class of a token: each of the two likely ones, and the two halves of the tail. */
const classOf = (token: number) => (token < 2 ? token : 2 + (token % 2));
const classes = [0, -1].map((logit) => Math.exp(logit));
const tails = [-17, -18].map((logit) => (Math.exp(logit) * rare) / 2);
const flatMass = [...classes, ...tails].reduce((a, b) => a + b);

test('tokens of a long flat tail are drawn as often as their probability says', () => {
  const counts = [0, 0, 0, 0];
  const sampler = samplerOf({ temperature: 1, seed: 4 });
  for (let i = 0; i < 3000; i++) counts[classOf(sampler.sample(flatTail))]!++;
  assert.ok(counts[2]! + counts[3]! > 0, 'the tail was never drawn');
  assertDistributed(
    counts,
    [...classes, ...tails].map((weight) => weight / flatMass),
  );
});

test('so are those that a wide top-k leaves of it', () => {
  const counts = [0, 0, 0, 0];
  const sampler = samplerOf({ temperature: 1, topK: 2 + rare / 2, seed: 7 });
  for (let i = 0; i < 3000; i++) counts[classOf(sampler.sample(flatTail))]!++;
  const weights = [...classes, tails[0]!, 0];
  const mass = weights.reduce((a, b) => a + b);
  assert.ok(counts[2]! > 0, 'the tail was never drawn');
  assertDistributed(
    counts,
    weights.map((weight) => weight / mass),
  );
});

test('filters that end before the tail draw nothing from it', () => {
  for (const cut of [{ topK: 2 }, { topP: 0.98 }, { minP: 0.01 }, { topK: 2, topP: 0.999 }]) {
    const sampler = samplerOf({ temperature: 1, ...cut });
    for (let i = 0; i < 10; i++) assert.ok(sampler.sample(flatTail) < 2, JSON.stringify(cut));
  }
});

test('every draw of any logits and filters has a probability by the definition', () => {
  // Logits in thousandths: nearer ones have the same weight, and the definition orders those by id.
  const logit = fc.oneof(
    fc.integer({ min: -30_000, max: 30_000 }).map((thousandths) => thousandths / 1000),
    fc.constantFrom(0, -1e30),
  );
  const params = fc.record({
    temperature: fc.double({ min: 0.05, max: 2, noNaN: true }),
    topK: fc.nat({ max: 12 }),
    topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
    minP: fc.double({ min: 0, max: 1, noNaN: true }),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(
      fc.array(logit, { minLength: 1, maxLength: 10 }),
      params,
      fc.integer({ min: 1, max: 10 }),
      (values, mixture, best) => {
        const logits = Float32Array.from(values);
        const full = { ...defaultSamplingParams, ...mixture };
        const expected = probabilities(logits, full);
        const sampler = samplerOf(full);
        const top = topOf(logits, Math.min(best, logits.length), full.temperature);
        for (let i = 0; i < 10; i++) {
          const token = (i % 2 === 0 ? null : sampler.sampleTop(top)) ?? sampler.sample(logits);
          // A filter's edge may fall on either side of a rounding.
          const edges = [full.minP, full.topP].flatMap((edge) => [edge * (1 - 1e-9), Math.min(1, edge * (1 + 1e-9))]);
          const possible = () =>
            edges
              .slice(0, 2)
              .some((minP) =>
                edges.slice(2).some((topP) => probabilities(logits, { ...full, minP, topP })[token]! > 0),
              );
          assert.ok(expected[token]! > 0 || possible(), `${token} of ${values}`);
        }
      },
    ),
    { seed: 8 },
  );
});

test('a seed is a sequence of draws; no seed asks for a fresh one', () => {
  const draws = (seed: number) => {
    const sampler = samplerOf({ temperature: 1, seed });
    return Array.from({ length: 50 }, () => sampler.sample(uneven));
  };
  assert.deepEqual(draws(3), draws(3));
  assert.notDeepEqual(draws(3), draws(4));
  let asked = 0;
  createSampler({ ...defaultSamplingParams, seed: null }, [], () => ++asked);
  assert.equal(asked, 1);
});

test('the best logits decide where they can, and the row is asked for where they cannot', () => {
  const isDecided = (params: Partial<SamplingParams>, best = 4) =>
    samplerOf(params).sampleTop(topOf(uneven, best, params.temperature ?? 1)) !== null;
  for (const params of [{ temperature: 0 }, { topK: 4 }, { minP: 0.9 }, { topP: 0.01 }]) assert.ok(isDecided(params));
  for (const params of [{ topK: 5 }, { minP: 1e-9 }, { topP: 0.999 }, { temperature: 0, repetitionPenalty: 1.1 }]) {
    assert.ok(!isDecided(params), JSON.stringify(params));
  }
  assert.ok(!isDecided({ temperature: 0, logitBias: [[3, 1]] }));
  assert.ok(isDecided({ topP: 0.999, minP: 1e-9, topK: 1000 }, 24), 'these are all that there are');
});

test('a row that is asked for is drawn from with the dice of the first look: other draws stay what they are', () => {
  const whole = samplerOf({ topK: 5, seed: 11 });
  const halves = samplerOf({ topK: 5, seed: 11 });
  const top = topOf(uneven, 4, 1);
  for (let i = 0; i < 20; i++) {
    assert.equal(halves.sampleTop(top), null);
    assert.equal(halves.sample(uneven), whole.sample(uneven));
  }
});

test('temperature 0 takes the best, and the first of equals', () => {
  const sampler = samplerOf({ temperature: 0, topK: 3, topP: 0.1, minP: 0.5 });
  assert.equal(sampler.sample(Float32Array.of(1, 4, 2, 4)), 1);
  assert.equal(argmax(Float32Array.of(-5, -3, -4)), 1);
});

test('equal logits are drawn alike, and top-k keeps exactly k of them', () => {
  const equal = new Float32Array(6);
  assertDistributed(countsOf(equal, { temperature: 1 }, 6000), new Array<number>(6).fill(1 / 6));
  const counts = countsOf(equal, { temperature: 1, topK: 2 }, 2000);
  assertDistributed(counts, [0.5, 0.5, 0, 0, 0, 0]);
});

test('biases are added first; a banned token is never drawn', () => {
  const logits = () => Float32Array.of(3, 1, 2);
  assert.equal(samplerOf({ temperature: 0, logitBias: [[1, 2.5]] }).sample(logits()), 1);
  const sampler = samplerOf({ temperature: 1, logitBias: [[0, -100]] });
  for (let i = 0; i < 200; i++) assert.notEqual(sampler.sample(logits()), 0);
});

test('the repetition penalty divides positive and multiplies negative logits of prompt and output, once', () => {
  const sampler = samplerOf({ temperature: 0, repetitionPenalty: 2 }, [1, 1, 3]);
  const first = Float32Array.of(1.5, 2, -0.5, -1);
  assert.equal(sampler.sample(first), 0);
  assert.deepEqual([...first], [1.5, 1, -0.5, -2]);
  const second = Float32Array.of(1.5, 2, -0.5, -1);
  assert.equal(sampler.sample(second), 1);
  assert.deepEqual([...second], [0.75, 1, -0.5, -2]);
});

test('frequency is charged per occurrence in the output, presence once, the prompt not at all', () => {
  const sampler = samplerOf({ temperature: 0, frequencyPenalty: 0.5, presencePenalty: 0.25 }, [0, 0, 0]);
  const run = () => {
    const logits = Float32Array.of(4, 3.125);
    return [sampler.sample(logits), ...logits];
  };
  assert.deepEqual(run(), [0, 4, 3.125]);
  assert.deepEqual(run(), [0, 3.25, 3.125]);
  assert.deepEqual(run(), [1, 2.75, 3.125]);
  assert.deepEqual(run(), [0, 2.75, 2.375]);
});

test('logits that are not finite are an error, wherever they are', () => {
  for (const temperature of [0, 1]) {
    for (const broken of [
      [Number.NaN, 1, 2],
      [1, 2, Number.NaN],
      [1, Number.POSITIVE_INFINITY, 2],
      new Array<number>(3).fill(Number.NEGATIVE_INFINITY),
    ]) {
      const logits = Float32Array.from(broken);
      assert.throws(() => samplerOf({ temperature }).sample(logits), /not finite/, `${broken}`);
      assert.throws(
        () => samplerOf({ temperature }).sampleTop(topOf(logits, 2, temperature)),
        /not finite/,
        `${broken}`,
      );
    }
  }
  assert.equal(samplerOf({ temperature: 1 }).sample(Float32Array.of(Number.NEGATIVE_INFINITY, 1)), 1);
});

test('log-probabilities are those of the whole distribution, best first, ties by id', () => {
  const logits = Float32Array.of(1, 3, 2, 3);
  const total = Math.log([...logits].reduce((sum, logit) => sum + Math.exp(logit), 0));
  const { logprob, top } = logprobsOf(logits, 2, 3);
  assert.ok(Math.abs(logprob - (2 - total)) < 1e-6);
  assert.deepEqual(
    top.map(([token]) => token),
    [1, 3, 2],
  );
  for (const [token, value] of top) assert.ok(Math.abs(value - (logits[token]! - total)) < 1e-6);
  assert.deepEqual(logprobsOf(logits, 0, 0).top, []);
  assert.equal(logprobsOf(logits, 0, 9).top.length, 4);
  const ofTop = logprobsOfTop(topOf(logits, 3, 0.5), 2, 3);
  assert.ok(Math.abs(ofTop.logprob - logprob) < 1e-6);
  assert.deepEqual(
    ofTop.top.map(([token]) => token),
    top.map(([token]) => token),
  );
});

test('penalties and temperatures at their edges choose a token', () => {
  for (const edge of [{ repetitionPenalty: 1e-38 }, { repetitionPenalty: 5e-324 }, { temperature: 1e-39 }]) {
    for (const temperature of [0, 1]) {
      const logits = Float32Array.of(1, -2, 3, 0.5);
      const token = samplerOf({ temperature, ...edge }, [0, 1]).sample(logits);
      assert.ok(token >= 0 && token < logits.length, JSON.stringify(edge));
    }
  }
});

test('no stop token before the least number of tokens, and only tokens that are allowed', () => {
  const greedy = { temperature: 0, stopTokens: [3] };
  const logits = () => Float32Array.of(1, 2, 3, 9);
  const sampler = samplerOf({ ...greedy, minTokens: 2 });
  assert.deepEqual([sampler.sample(logits()), sampler.sample(logits()), sampler.sample(logits())], [2, 2, 3]);
  assert.equal(samplerOf({ ...greedy, allowedTokens: [0, 1] }).sample(logits()), 1);
  assert.equal(samplerOf({ temperature: 2, allowedTokens: [0] }).sample(logits()), 0);
});
