import assert from 'node:assert/strict';
import test from 'node:test';
import { commonShare } from '../../../src/core/share.ts';
import { decodesMax, inTurn, shareTokens } from '../../../src/engine/policies/token-budget.ts';
import { fairTraffic, type Job } from '../fair-traffic.ts';

test('one token for each that decodes, and what is left to prompts in their order', () => {
  assert.deepEqual(shareTokens([1, 100, 1, 100], 128), [1, 100, 1, 26]);
  assert.deepEqual(shareTokens([1, 1, 1, 100], 4), [1, 1, 1, 1]);
  assert.equal(decodesMax(128, true), 96);
  assert.equal(decodesMax(128, false), 128);
  assert.equal(decodesMax(1, true), 1);
});

test('who was served least decodes first, of one flow whose turn is longest ago', () => {
  const row = (counter: number, turn: number) => ({ counter, turn });
  const rows = [row(5, 1), row(5, 0), row(1, 9), row(5, 2)];
  assert.deepEqual(inTurn(rows, 3), [row(1, 9), row(5, 0), row(5, 1)]);
  assert.deepEqual(inTurn(rows, 4), rows);
});

test('beside hundreds of sequences of another tenant a sequence decodes in every step, and no step is long', () => {
  const flood = { ...commonShare, flow: 1 };
  const quiet = { ...commonShare, flow: 2 };
  const jobs: Job[] = [
    ...Array.from({ length: 300 }, () => ({ at: 0, share: flood, prompt: 8, output: 40 })),
    { at: 60, share: quiet, prompt: 8, output: 30 },
  ];
  const budget = 32;
  const { served, step } = fairTraffic(jobs, { rows: 256, lead: 4096, budget, takesTurns: true });
  // No step gave more tokens than its budget.
  assert.ok(step >= (300 * 40) / budget, `${step} steps`);
  const { firstAt, endedAt } = served.find(({ job }) => job.share === quiet)!;
  assert.ok(firstAt - 60 <= 2, `first token after ${firstAt - 60} steps`);
  assert.equal(endedAt - firstAt, 29);
});
