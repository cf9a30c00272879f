import assert from 'node:assert/strict';
import test from 'node:test';
import { commonShare } from '../../../src/core/share.ts';
import type { Chunk } from '../../../src/engine/loop/scheduler.ts';
import { hasPatience, inTurn, promptsNext, shareTokens } from '../../../src/engine/policies/token-budget.ts';
import { fairTraffic, type Job } from '../fair-traffic.ts';

test('one token for each that decodes, and what is left to prompts in their order', () => {
  assert.deepEqual(shareTokens([1, 100, 1, 100], 128), [1, 100, 1, 26]);
  assert.deepEqual(shareTokens([1, 1, 1, 100], 4), [1, 1, 1, 1]);
});

test('short prompts share a step, others have one each, and answers wait for no more than the budget', () => {
  const next = (lefts: readonly number[], before: number, budget = 128) => {
    const prompts = lefts.map((left) => ({ left, canWait: false }));
    const { next, since } = promptsNext(prompts, budget, before);
    assert.deepEqual(next, prompts.slice(0, next.length));
    return { count: next.length, since };
  };
  assert.deepEqual(next([], 0), { count: 0, since: 0 }, 'the answers have every step without prompts');
  assert.deepEqual(next([16, 16, 16, 16, 16], 0), { count: 4, since: 64 });
  assert.deepEqual(next([64, 64], 0), { count: 1, since: 64 });
  assert.deepEqual(next([64, 64], 64), { count: 1, since: 128 }, 'a second one within the budget comes first');
  assert.deepEqual(next([65], 64), { count: 0, since: 0 }, 'then it is the answers’ turn');
  assert.deepEqual(next([16, 16], 104), { count: 1, since: 120 });
  assert.deepEqual(next([1000, 1], 0), { count: 1, since: 1000 }, 'a long one is read by itself, in pieces');
  assert.equal(next([872], 1000).count, 0);
  assert.equal(next([5], 0, 1).count, 1);
  // Prompts of which all but one token is known: each step still counts its least.
  let [since, steps] = [0, 0];
  for (let step = next([1], since); step.count > 0; step = next([1], since)) {
    since = step.since;
    steps++;
  }
  assert.equal(steps, 8);
});

test('who waited long in a queue waits for others with which its prompt is read, and holds nobody up', () => {
  const [urgent, patient] = [16, 16].map((left, i) => ({ left, canWait: i === 1 }));
  const next = (prompts: { left: number; canWait: boolean }[]) => promptsNext(prompts, 128, 0).next;
  assert.deepEqual(next([patient!, patient!, patient!]), [], 'answers go on until there is enough to read');
  assert.deepEqual(next([patient!, patient!, patient!, patient!]).length, 4);
  assert.deepEqual(next([patient!, urgent!]), [urgent, patient], 'those without patience first');
  const long = { left: 64, canWait: false };
  assert.deepEqual(next([patient!, long]), [long]);
  assert.ok(hasPatience({ queuedAt: 0, startedAt: 1600 }, 1699));
  assert.ok(!hasPatience({ queuedAt: 0, startedAt: 1600 }, 1700));
  assert.ok(!hasPatience({ queuedAt: 5, startedAt: 5 }, 5), 'who did not wait does not now');
});

test('who was served least decodes first, of one flow whose turn is longest ago', () => {
  const row = (counter: number, turn: number) => ({ counter, turn });
  const rows = [row(5, 1), row(5, 0), row(1, 9), row(5, 2)];
  assert.deepEqual(inTurn(rows, 3), [row(1, 9), row(5, 0), row(5, 1)]);
  assert.deepEqual(inTurn(rows, 4), rows);
});

/** Time in steps of answers; steps of prompts take none. */
const stepMs = (chunks: readonly Chunk[]) =>
  Number(chunks.some(({ sequence }) => sequence.computed >= sequence.request.promptTokens.length));

test('beside hundreds of sequences of another tenant one decodes in every step of answers, and none is long', () => {
  const flood = { ...commonShare, flow: 1 };
  const quiet = { ...commonShare, flow: 2 };
  const jobs: Job[] = [
    ...Array.from({ length: 300 }, () => ({ at: 0, share: flood, prompt: 8, output: 40 })),
    { at: 60, share: quiet, prompt: 8, output: 30 },
  ];
  const budget = 32;
  const { served, now } = fairTraffic(jobs, { rows: 256, lead: 4096, budget, decodes: 16, stepMs });
  // No step had more than 16 of the flood's sequences.
  assert.ok(now >= (300 * 39) / 16, `${now} steps`);
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
  const { served } = fairTraffic(jobs, { rows: 256, lead: 4096, budget: 128, decodes: 32, stepMs });
  for (const { job, firstAt } of served.filter(({ job }) => job.share === quiet)) {
    assert.ok(firstAt - job.at <= 2, `first token after ${firstAt - job.at} steps`);
  }
});
