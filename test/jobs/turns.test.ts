import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { LorikeetError } from '../../src/core/errors.ts';
import type { QuotaCheck } from '../../src/core/quota-check.ts';
import { nextPriority } from '../../src/jobs/policies/training-floor.ts';
import { isTurnOver } from '../../src/jobs/policies/turns.ts';
import type { StartTrainerProcess } from '../../src/protocol/trainer-process.ts';
import { fakeTrainer } from '../helpers/fake-trainer.ts';
import { plainBounds, testJobs } from '../helpers/test-jobs.ts';
import { until } from '../helpers/waits.ts';

test('a turn is over when it was long enough and another tenant waits', () => {
  const turn = { tenant: 'a', ranMs: 100, turnMs: 100 };
  assert.equal(isTurnOver({ ...turn, waiting: ['b'] }), true);
  assert.equal(isTurnOver({ ...turn, waiting: ['a', 'a'] }), false);
  assert.equal(isTurnOver({ ...turn, waiting: [] }), false);
  assert.equal(isTurnOver({ ...turn, ranMs: 99, waiting: ['b'] }), false);
});

test('tenants train in turns: a long job stops at a checkpoint for another, and comes to the same end', async (t) => {
  const long = { choices: { maxSteps: 200, checkpointSteps: 50, seed: 3 } };
  const alone = await testJobs(t, { stepMs: 0 });
  const undisturbed = await alone.reaches((await alone.create(long)).id, 'succeeded');
  const adapter = await alone.registry.find('default', undisturbed.adapter!);

  const bounds = { ...plainBounds, turnMs: 40 };
  const { create, reaches, trainer, jobs, registry } = await testJobs(t, { stepMs: 2, jobs: { bounds } });
  const first = await create(long);
  await until(() => trainer.alive === 1);
  const own = await create({ choices: { maxSteps: 2, checkpointSteps: 2, seed: 1 } });
  await setTimeout(150);
  assert.equal((await jobs.find('default', own.id)).state, 'queued', 'its own jobs come one after another');
  const other = await create({ tenant: 'other', choices: { maxSteps: 2, checkpointSteps: 2, seed: 1 } });
  while ((await jobs.find('other', other.id)).state !== 'succeeded') await setTimeout(5);
  assert.notEqual((await jobs.find('default', first.id)).state, 'succeeded');
  const { adapter: made } = await reaches(first.id, 'succeeded');
  assert.equal((await registry.find('default', made!)).digest, adapter.digest);
  await reaches(own.id, 'succeeded');
  const events = await jobs.events('default', first.id, { after: null, limit: 1000 });
  const said = events.map(({ message }) => message);
  assert.ok(said.includes("Another tenant's job has its turn; this one goes on after it"));
  assert.ok(said.some((message) => /^Training goes on from step [1-9]/.test(message)));
});

test('a job that takes more steps, or longer, than the server allows fails, and says so', async (t) => {
  const few = await testJobs(t, { jobs: { bounds: { ...plainBounds, stepsMax: 3 } } });
  const steps = await few.reaches((await few.create()).id, 'failed');
  assert.match(steps.error!.message, /4 steps; this server's limit is 3/);
  const short = await testJobs(t, { stepMs: 20, jobs: { bounds: { ...plainBounds, trainingMsMax: 50 } } });
  const { id } = await short.create({ choices: { maxSteps: 1000, checkpointSteps: 10, seed: 1 } });
  const late = await short.reaches(id, 'failed');
  assert.match(late.error!.message, /hours, this server's limit/);
  assert.ok(late.progress.trainedMs! >= 50);
});

/** A tenant's quota, as the database and the operator know it. */
function trainingQuota(most: number) {
  const tenant = { trained: 0, most };
  const assertQuota: QuotaCheck = (_, field, kept) => {
    if (field !== 'training_tokens' || kept.tenant <= tenant.most) return;
    throw new LorikeetError('insufficient_quota', { message: `${kept.tenant} of ${tenant.most}` });
  };
  return { tenant, jobs: { assertQuota, trainedSince: async () => tenant.trained } };
}

test('a job with more tokens than the quota has left fails before its first step', async (t) => {
  const { tenant, jobs } = trainingQuota(500);
  tenant.trained = 100;
  const { create, reaches, trainer } = await testJobs(t, { stepMs: 0, jobs });
  // A step of the fake trainer has 100 tokens.
  await reaches((await create({ choices: { maxSteps: 4, checkpointSteps: 2, seed: 1 } })).id, 'succeeded');
  const large = await reaches((await create({ choices: { maxSteps: 5, checkpointSteps: 2, seed: 1 } })).id, 'failed');
  assert.deepEqual(large.error, { code: 'insufficient_quota', message: '600 of 500', param: null });
  assert.equal(large.progress.step, 0);
  tenant.trained = 500;
  await assert.rejects(create(), { code: 'insufficient_quota' });
  assert.equal(trainer.alive, 0);
});

test('a job that uses up the quota while it runs ends there, and its last step stays as a checkpoint', async (t) => {
  const { tenant, jobs } = trainingQuota(1_000_000);
  const { create, reaches, trainer, jobs: training } = await testJobs(t, { stepMs: null, jobs });
  const { id } = await create({ choices: { maxSteps: 100, checkpointSteps: 100, seed: 1 } });
  await until(() => trainer.alive === 1);
  trainer.step();
  tenant.most = 250;
  trainer.step();
  trainer.step();
  const job = await reaches(id, 'failed');
  assert.deepEqual(job.error, { code: 'insufficient_quota', message: '301 of 250', param: null });
  const checkpoints = await training.checkpoints('default', id, { after: null, limit: 10 });
  assert.deepEqual(
    checkpoints.map(({ step }) => step),
    [3],
  );
});

test('a trainer that gets next to nothing for a minute goes on at a low priority, and later tries again', () => {
  const uses = (seconds: number, share: number, from = 0) =>
    Array.from({ length: seconds / 10 + 1 }, (_, i) => ({ atMs: from + i * 10_000, usedMs: i * 10_000 * share }));
  assert.equal(nextPriority('idle', uses(50, 0)), 'idle', 'a moment says nothing');
  assert.equal(nextPriority('idle', uses(60, 0.001)), 'low');
  assert.equal(nextPriority('idle', uses(600, 0.5)), 'idle');
  // The trainer used much of the processor, and then nothing.
  const stopped = [...uses(60, 1), ...uses(60, 0, 70_000).map((use) => ({ ...use, usedMs: 60_000 }))];
  assert.equal(nextPriority('idle', stopped), 'low');
  assert.equal(nextPriority('low', uses(1790, 0.1)), 'low');
  assert.equal(nextPriority('low', uses(1800, 0.1)), 'idle');
  assert.equal(nextPriority('idle', []), 'idle');
});

test('a job whose trainer starves is gone on with at a low priority, and comes to its end', async (t) => {
  const trainer = fakeTrainer({ stepMs: null });
  const start: StartTrainerProcess = (handlers) => ({ ...trainer.start(handlers), processorMs: () => 0 });
  const fast = { now: () => Date.now(), monotonic: () => performance.now() * 1000 };
  const timers = {
    after: (ms: number, call: () => void) => {
      const timer = globalThis.setTimeout(call, ms === 10_000 ? 10 : ms);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
  const bounds = { ...plainBounds, priority: 'floor' as const };
  const { create, reaches } = await testJobs(t, {
    trainer,
    jobs: { startTrainer: start, bounds, timers, clock: fast },
  });
  const { id } = await create({ choices: { maxSteps: 3, checkpointSteps: 1, seed: 1 } });
  await until(() => trainer.lives === 1 && trainer.alive === 1);
  trainer.step();
  await until(() => trainer.lives === 2 && trainer.alive === 1);
  trainer.options = { stepMs: 0 };
  for (let i = 0; i < 4; i++) trainer.step();
  await reaches(id, 'succeeded');
  assert.deepEqual(
    trainer.jobs.slice(0, 2).map(({ priority }) => priority),
    ['idle', 'low'],
  );
});
