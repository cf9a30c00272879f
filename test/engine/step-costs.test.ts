import assert from 'node:assert/strict';
import test from 'node:test';
import { StepCosts } from '../../src/engine/loop/step-costs.ts';

test('no rows cost nothing; before the first step more rows cost more, and adapters more than none', () => {
  const { stepMs } = new StepCosts();
  assert.equal(stepMs('mixed', 0), 0);
  assert.ok(stepMs('base', 2) > stepMs('base', 1));
  assert.ok(stepMs('mixed', 8) > stepMs('base', 8));
  assert.equal(stepMs('merged', 8), stepMs('base', 8));
});

test('what was seen is its mean, newer steps weigh more, and one that was interrupted hardly counts', () => {
  const costs = new StepCosts();
  for (let i = 0; i < 50; i++) costs.observe('mixed', 4, 20);
  assert.ok(Math.abs(costs.stepMs('mixed', 4) - 20) < 1e-9);
  costs.observe('mixed', 4, 2000);
  assert.ok(costs.stepMs('mixed', 4) < 25);
  for (let i = 0; i < 100; i++) costs.observe('mixed', 4, 30);
  assert.ok(Math.abs(costs.stepMs('mixed', 4) - 30) < 0.1);
});

test('a guess across kinds is low in both directions: what is not known is tried', () => {
  const one = new StepCosts();
  one.observe('base', 8, 20);
  assert.ok(one.stepMs('mixed', 8) <= 20);
  const other = new StepCosts();
  other.observe('mixed', 8, 30);
  assert.ok(other.stepMs('merged', 8) < 24);
});

test('what was not seen is guessed from its kind, most from the nearest, and else from another kind', () => {
  const costs = new StepCosts();
  costs.observe('base', 16, 40);
  const merged = costs.stepMs('merged', 16);
  assert.equal(merged, 40);
  costs.observe('merged', 4, 16);
  // In units of the prior, four rows cost 1.6 and sixteen 4.
  assert.ok(Math.abs(costs.stepMs('merged', 16) - 40) < 1e-9);
  costs.observe('merged', 8, 48);
  // The nearer cell alone would give 80.
  const guess = costs.stepMs('merged', 16);
  assert.ok(guess > 60 && guess < 80, `${guess}`);
});

test('what was not seen for long is forgotten, so that it is tried again', () => {
  const costs = new StepCosts();
  costs.observe('mixed', 8, 1000);
  for (let i = 0; i < 5000; i++) costs.observe('base', 8, 20);
  assert.ok(costs.stepMs('mixed', 8) < 25);
});
