// The pure decisions of jobs: the next job, the share of time, which metrics are dropped, when a trainer is given up,
// and hyperparameters by the size of the data.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { completeHyperparameters } from '../../src/jobs/hyperparameters.ts';
import { nextJob } from '../../src/jobs/policies/next-job.ts';
import { thinMetrics } from '../../src/jobs/policies/thin-metrics.ts';
import { defaultTrainerRestart, restartAfterDeath } from '../../src/jobs/policies/trainer-restart.ts';
import { trainingRoom } from '../../src/jobs/policies/training-room.ts';
import type { HyperparameterChoices } from '../../src/jobs/training-jobs.ts';
import { noFailures } from '../../src/protocol/restart-policy.ts';

const tenants = ['a', 'b', 'c'] as const;
const arrival = fc.record({ tenant: fc.constantFrom(...tenants), gap: fc.integer({ min: 0, max: 3 }) });

test('between two turns of one tenant every other that waits has had one, and each tenant’s go by age', () => {
  fc.assert(
    fc.property(fc.array(arrival, { minLength: 1, maxLength: 40 }), (arrivals) => {
      const lastStarts = new Map<string, number>();
      const started: { id: string; tenant: string; queuedAt: number; waited: readonly string[] }[] = [];
      let waiting: { id: string; tenant: string; queuedAt: number }[] = [];
      let now = 0;
      const startOne = () => {
        const job = nextJob(waiting, lastStarts);
        if (job === null) return;
        waiting = waiting.filter((other) => other !== job);
        lastStarts.set(job.tenant, ++now);
        started.push({ ...job, waited: waiting.map(({ tenant }) => tenant) });
      };
      for (const [i, { tenant, gap }] of arrivals.entries()) {
        waiting.push({ id: String(i), tenant, queuedAt: ++now });
        if (gap === 0) startOne();
      }
      while (waiting.length > 0) startOne();
      assert.equal(started.length, arrivals.length);
      for (const tenant of tenants) {
        const own = started.flatMap((job, i) => (job.tenant === tenant ? [i] : []));
        const ages = own.map((i) => started[i]!.queuedAt);
        assert.deepEqual(
          ages,
          ages.toSorted((a, b) => a - b),
        );
        for (const [k, from] of own.slice(0, -1).entries()) {
          const between = new Set(started.slice(from + 1, own[k + 1]).map((job) => job.tenant));
          for (const other of started[from]!.waited) assert.ok(other === tenant || between.has(other));
        }
      }
    }),
  );
});

test('a curve of any length keeps its ends, its order and its validations, in so many points', () => {
  const points = fc
    .array(fc.record({ gap: fc.integer({ min: 1, max: 5 }), isValidated: fc.boolean() }), {
      minLength: 1,
      maxLength: 500,
    })
    .map((gaps) => {
      let step = 0;
      return gaps.map(({ gap, isValidated }) => {
        step += gap;
        return { step, isValidated };
      });
    });
  fc.assert(
    fc.property(points, fc.integer({ min: 4, max: 200 }), (all, most) => {
      const kept = thinMetrics(all, most);
      assert.ok(kept.length <= most);
      assert.deepEqual(
        kept,
        all.filter((point) => kept.includes(point)),
      );
      assert.equal(kept.at(-1), all.at(-1));
      const validated = all.filter(({ isValidated }) => isValidated);
      if (validated.length <= most / 2) for (const point of validated) assert.ok(kept.includes(point));
      if (all.length <= most) assert.deepEqual(kept, all);
    }),
  );
});

test('a trainer that gets no further is given up, one that does is not', () => {
  let history = noFailures;
  const delays: number[] = [];
  for (;;) {
    const restart = restartAfterDeath(history, false, defaultTrainerRestart);
    if (restart === null) break;
    delays.push(restart.delayMs);
    history = restart.history;
  }
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000]);
  let forever = noFailures;
  for (let deaths = 0; deaths < 100; deaths++) {
    const restart = restartAfterDeath(forever, deaths % 5 === 0, defaultTrainerRestart);
    assert.ok(restart !== null);
    forever = restart.history;
  }
});

test('the engine leaves room only where it and the trainer compute on the same cores', () => {
  const share = (device: string, trainingDevice: string) =>
    trainingRoom({ device, trainingDevice, trainingShare: 0.6 });
  assert.equal(share('cpu', 'cpu'), 0.6);
  assert.deepEqual([share('cpu', 'cuda'), share('cuda', 'cpu'), share('cuda:1', 'cuda:1')], [0, 0, 0]);
});

const complete = (choices: HyperparameterChoices, rows: number, contextTokens = 2048) =>
  completeHyperparameters(choices, { rows, contextTokens, seed: 3 });

test('what nobody chose suits the size of the data', () => {
  const sizes = [1, 20, 100, 1000, 10_000].map((rows) => {
    const { epochs, batchRows, evalSteps, warmupSteps } = complete({}, rows);
    return { rows, epochs, batchRows, evalSteps, warmupSteps };
  });
  assert.deepEqual(sizes, [
    { rows: 1, epochs: 10, batchRows: 1, evalSteps: 1, warmupSteps: 0 },
    { rows: 20, epochs: 10, batchRows: 1, evalSteps: 20, warmupSteps: 6 },
    { rows: 100, epochs: 10, batchRows: 6, evalSteps: 17, warmupSteps: 5 },
    { rows: 1000, epochs: 3, batchRows: 8, evalSteps: 37, warmupSteps: 11 },
    { rows: 10_000, epochs: 1, batchRows: 8, evalSteps: 125, warmupSteps: 37 },
  ]);
});

test('a choice decides, and what follows from it follows', () => {
  assert.equal(complete({ r: 4 }, 10).loraAlpha, 8);
  assert.equal(complete({ r: 4, loraAlpha: 3 }, 10).loraAlpha, 3);
  assert.equal(complete({ learningRateMultiplier: 0.5 }, 10).learningRate, 0.0005);
  assert.equal(complete({ maxTokens: 4096 }, 10, 512).maxTokens, 512);
  const bySteps = complete({ maxSteps: 50, batchTokens: 512 }, 10);
  assert.deepEqual([bySteps.epochs, bySteps.batchRows, bySteps.evalSteps], [null, null, 5]);
  assert.equal(complete({ maxGradNorm: null }, 10).maxGradNorm, null);
});
