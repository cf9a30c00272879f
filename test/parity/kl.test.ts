import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { firstDifference } from './greedy.ts';
import { klDivergence, measureParity } from './kl.ts';
import { type Distribution, readReferences } from './references.ts';

const references = readReferences();

/** Logits that reproduce a stored distribution: the tail spread evenly over the tokens that are not stored. */
function logitsOf(distribution: Distribution, vocabulary: number): Float32Array {
  const logits = new Float32Array(vocabulary).fill(
    Math.log(distribution.tail / (vocabulary - distribution.ids.length)),
  );
  for (const [i, id] of distribution.ids.entries()) logits[id] = distribution.logprobs[i]!;
  return logits;
}

test('stored distributions are whole: sorted, distinct tokens, mass 1', () => {
  assert.ok(references.prompts.length >= 48);
  for (const { tokens, positions, distributions, greedy, margins } of references.prompts) {
    assert.equal(positions.at(-1), tokens.length - 1);
    assert.equal(greedy.length, margins.length);
    for (const { ids, logprobs, tail } of distributions) {
      assert.equal(new Set(ids).size, ids.length);
      assert.ok(logprobs.every((logprob, i) => i === 0 || logprob <= logprobs[i - 1]!));
      assert.ok(Math.abs(logprobs.reduce((sum, logprob) => sum + Math.exp(logprob), tail) - 1) < 1e-5);
    }
    assert.equal(distributions.at(-1)!.ids[0], greedy[0]);
  }
});

test('a distribution has no divergence from itself, whatever constant its logits carry', () => {
  const distribution = references.prompts[0]!.distributions[0]!;
  const logits = logitsOf(distribution, references.vocabulary);
  assert.ok(Math.abs(klDivergence(distribution, logits)) < 1e-6);
  const shifted = logits.map((logit) => logit + 37);
  assert.ok(Math.abs(klDivergence(distribution, shifted)) < 1e-4);
});

test('divergence of a small known case: stored {0: 1/2, 1: 1/4}, tail 1/4, against a uniform one', () => {
  const reference = { ids: Uint16Array.of(0, 1), logprobs: Float32Array.of(Math.log(0.5), Math.log(0.25)), tail: 0.25 };
  const expected = 0.5 * Math.log(0.5 / 0.25) + 0.25 * Math.log(0.25 / 0.25) + 0.25 * Math.log(0.25 / 0.5);
  assert.ok(Math.abs(klDivergence(reference, new Float32Array(4)) - expected) < 1e-7);
});

test('divergence is never negative and never above the unlumped one', () => {
  const logit = fc.float({ min: -8, max: 8, noNaN: true });
  const logits = fc.array(logit, { minLength: 6, maxLength: 6 }).map((values) => Float32Array.from(values));
  fc.assert(
    fc.property(logits, logits, (p, q) => {
      const whole = kl(p, q);
      const lumped = klDivergence(storedTop(p, 3), q);
      assert.ok(lumped > -1e-5 && lumped < whole + 1e-5, `${lumped} against ${whole}`);
    }),
  );
});

test('NaN logits give a NaN mean, which no threshold accepts', async () => {
  const parity = await measureParity(references.prompts.slice(0, 1), async () =>
    new Float32Array(references.vocabulary).fill(Number.NaN),
  );
  assert.ok(Number.isNaN(parity.meanKl));
});

test('the first difference of greedy tokens tells how sure the reference was', () => {
  const reference = { greedy: [5, 6, 7], margins: [1, 0.01, 2] };
  assert.equal(firstDifference(reference, [5, 6, 7]), null);
  assert.deepEqual(firstDifference(reference, [5, 9, 9]), { step: 1, margin: 0.01 });
  assert.deepEqual(firstDifference(reference, [5, 6]), { step: 2, margin: 2 });
});

function logSoftmax(logits: Float32Array): number[] {
  const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
  return Array.from(logits, (logit) => logit - total);
}

function kl(p: Float32Array, q: Float32Array): number {
  const logQ = logSoftmax(q);
  return logSoftmax(p).reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - logQ[i]!), 0);
}

function storedTop(logits: Float32Array, top: number): Distribution {
  const logP = logSoftmax(logits);
  const ids = logP.map((_, i) => i).sort((a, b) => logP[b]! - logP[a]!);
  const tail = ids.slice(top).reduce((sum, id) => sum + Math.exp(logP[id]!), 0);
  const stored = ids.slice(0, top);
  return { ids: Uint16Array.from(stored), logprobs: Float32Array.from(stored, (id) => logP[id]!), tail };
}
