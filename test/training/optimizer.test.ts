// AdamW, clipping and schedules against numbers from torch and transformers, made by make-optimizer-cases.py.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import type { LearningRateSchedule } from '../../src/protocol/training-messages.ts';
import { adamW, createMoments } from '../../src/training/adam-w.ts';
import { clipGradients } from '../../src/training/clip.ts';
import { learningRateAt } from '../../src/training/schedule.ts';

type Step = { gradient: number[]; norm: number | null; clipped: number[]; rate: number; values: number[] };
type Cases = {
  optimise: { weightDecay: number; maxGradNorm: number | null; start: number[]; steps: Step[] }[];
  schedules: { schedule: LearningRateSchedule; warmupSteps: number; rates: number[] }[];
};

const cases = JSON.parse(readFileSync(new URL('../fixtures/optimizer-cases.json', import.meta.url), 'utf8')) as Cases;

function assertNear(found: ArrayLike<number>, expected: ArrayLike<number>, relative: number): void {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < found.length; i++) {
    const error = Math.abs(found[i]! - expected[i]!);
    assert.ok(error <= relative * Math.max(1, Math.abs(expected[i]!)), `${i}: ${found[i]} is not ${expected[i]}`);
  }
}

for (const { weightDecay, maxGradNorm, start, steps } of cases.optimise) {
  test(`clipping at ${maxGradNorm} and AdamW with a weight decay of ${weightDecay} go where torch goes`, () => {
    const values = Float32Array.from(start);
    const moments = createMoments(start.length);
    for (const [index, { gradient, norm, clipped, rate, values: expected }] of steps.entries()) {
      const gradients = Float32Array.from(gradient);
      const found = clipGradients(gradients, maxGradNorm);
      if (norm !== null) assertNear([found], [norm], 1e-6);
      assertNear(gradients, clipped, 1e-6);
      adamW(values, gradients, moments, { step: index + 1, learningRate: rate, weightDecay });
      assertNear(values, expected, 1e-6);
    }
  });
}

for (const { schedule, warmupSteps, rates } of cases.schedules) {
  test(`the ${schedule} schedule with ${warmupSteps} warm-up steps in ${rates.length} is transformers' own`, () => {
    const settings = { learningRate: 0.5, schedule, warmupSteps };
    assertNear(
      rates.map((_, step) => learningRateAt(step, rates.length, settings)),
      rates,
      1e-12,
    );
  });
}

test('a norm below the limit leaves every bit of the gradients', () => {
  const gradients = Float32Array.of(0.3, -0.4);
  const before = gradients.slice();
  assert.ok(Math.abs(clipGradients(gradients, 1) - 0.5) < 1e-7);
  assert.deepEqual(gradients, before);
});

test('the norm of an infinity or a NaN is no finite number', () => {
  for (const value of [Number.POSITIVE_INFINITY, Number.NaN]) {
    assert.ok(!Number.isFinite(clipGradients(Float32Array.of(1, value), 1)));
  }
});
