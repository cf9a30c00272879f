import assert from 'node:assert/strict';
import test from 'node:test';
import { createComparison, klDivergence } from '../../../src/engine/merges/compare.ts';

const logs = (...probabilities: number[]) => Float32Array.from(probabilities, (p) => Math.log(p) + 3);

test('the divergence is that of the distributions, whatever is added to the logits', () => {
  const [p, q] = [logs(0.5, 0.25, 0.25), logs(0.25, 0.5, 0.25)];
  const expected = 0.5 * Math.log(2) - 0.25 * Math.log(2);
  assert.ok(Math.abs(klDivergence(p, q) - expected) < 1e-6);
  assert.ok(
    klDivergence(
      p,
      p.map((logit) => logit - 40),
    ) < 1e-6,
  );
  assert.ok(klDivergence(Float32Array.of(0, -1000), Float32Array.of(-1000, 0)) > 900);
});

test('positions are counted over all calls', () => {
  const comparison = createComparison(2);
  comparison.add(logs(0.9, 0.1, 0.2, 0.8), logs(0.9, 0.1, 0.8, 0.2));
  comparison.add(logs(0.3, 0.7), logs(0.3, 0.7));
  const { positions, meanKl, maxKl, top1Agreement } = comparison.quality();
  const kl = 0.6 * Math.log(4);
  assert.equal(positions, 3);
  assert.ok(Math.abs(maxKl - kl) < 1e-6 && Math.abs(meanKl - kl / 3) < 1e-6);
  assert.equal(top1Agreement, 2 / 3);
});

test('a number that is none reaches the report', () => {
  const comparison = createComparison(2);
  comparison.add(logs(0.5, 0.5), Float32Array.of(Number.NaN, 0));
  comparison.add(logs(0.5, 0.5), logs(0.5, 0.5));
  assert.ok(Number.isNaN(comparison.quality().meanKl) && Number.isNaN(comparison.quality().maxKl));
});
