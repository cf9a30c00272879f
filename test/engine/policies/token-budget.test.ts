import assert from 'node:assert/strict';
import test from 'node:test';
import { commonShare } from '../../../src/core/share.ts';
import { decodesMax, inTurn, shareTokens } from '../../../src/engine/policies/token-budget.ts';
import { fairTraffic, type Job } from '../fair-traffic.ts';

test('one token for each that decodes, and what is left to prompts in their order', () => {
  assert.deepEqual(shareTokens([1, 100, 1, 100], 128), [1, 100, 1, 26]);
  assert.deepEqual(shareTokens([1, 1, 1, 100], 4), [1, 1, 1, 1]);
  assert.equal(decodesMax(1000, 128, true), 96);
  assert.equal(decodesMax(1000, 128, false), 128);
  assert.equal(decodesMax(32, 128, true), 32);
  assert.equal(decodesMax(32, 1, true), 1);
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
  const { served, step } = fairTraffic(jobs, { rows: 256, lead: 4096, budget, decodes: 16 });
  // No step had more of them than it may.
  assert.ok(step >= (300 * 39) / 16, `${step} steps`);
  const { firstAt, endedAt } = served.find(({ job }) => job.share === quiet)!;
  assert.ok(firstAt - 60 <= 2, `first token after ${firstAt - 60} steps`);
  assert.equal(endedAt - firstAt, 29);
});

test('beside hundreds of prompts of another tenant a prompt is read in the next steps', () => {
  const flood = { ...commonShare, flow: 1 };
  const quiet = { ...commonShare, flow: 2 };
  const jobs: Job[] = [
    ...Array.from({ length: 200 }, () => ({ at: 0, share: flood, prompt: 16, output: 64 })),
    ...Array.from({ length: 10 }, (_, i) => ({ at: 5 + 4 * i, share: quiet, prompt: 64, output: 4 })),
  ];
  const { served } = fairTraffic(jobs, { rows: 256, lead: 4096, budget: 128, decodes: 32 });
  for (const { job, firstAt } of served.filter(({ job }) => job.share === quiet)) {
    assert.ok(firstAt - job.at <= 2, `first token after ${firstAt - job.at} steps`);
  }
});
