import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { TrainerEvent, TrainingMetrics } from '../../src/protocol/training-messages.ts';
import { Paused } from '../../src/training/run-job.ts';
import { temporaryFolder } from '../helpers/tiny-lowered.ts';
import { type JobOptions, openJob } from './quadratic-job.ts';

const metricsOf = (events: readonly TrainerEvent[]): TrainingMetrics[] =>
  events.flatMap((event) => (event.type === 'step' ? [event.metrics] : []));
const withoutTimes = ({ tokensPerSecond, etaSeconds, ...metrics }: TrainingMetrics) => metrics;

async function undisturbed(options: JobOptions) {
  const job = await openJob(temporaryFolder(), options);
  await job.trainer.run();
  return { ...job, metrics: metricsOf(job.events).map(withoutTimes) };
}

const kinds: Readonly<Record<string, JobOptions>> = {
  plain: {},
  'with a validation file': { validates: true },
  'with validations at other steps than checkpoints': { validates: true, settings: { evalSteps: 3 } },
};

test('the loss falls, the steps are counted and every figure is there', async () => {
  const { metrics } = await undisturbed({ settings: { epochs: 20 } });
  assert.equal(metrics.length, 60);
  assert.ok(metrics.at(-1)!.trainLoss < 0.7 * metrics[0]!.trainLoss);
  assert.deepEqual(
    metrics.map(({ step }) => step),
    Array.from(metrics, (_, index) => index + 1),
  );
  const { step, steps, epoch, learningRate, tokens } = metrics[2]!;
  assert.deepEqual({ step, steps, epoch, tokens }, { step: 3, steps: 60, epoch: 1, tokens: metrics[2]!.tokens });
  assert.ok(Math.abs(learningRate - 0.05 * (58 / 59)) < 1e-12);
  assert.equal(
    metrics.slice(0, 3).reduce((sum, { tokens }) => sum + tokens, 0),
    48,
  );
});

for (const [name, options] of Object.entries(kinds)) {
  for (const how of ['paused', 'killed'] as const) {
    test(`${how} after any micro-batch, a job ends with the same bits: ${name}`, async () => {
      let rests = 0;
      const count = async () => void rests++;
      const expected = await undisturbed({ ...options, between: count });
      assert.ok(rests > 10);
      for (let stopAt = 1; stopAt <= rests; stopAt++) {
        const folder = temporaryFolder();
        let left = stopAt;
        const stop = async () => {
          if (--left === 0) throw new Paused();
        };
        const first = await openJob(folder, { ...options, between: stop });
        await assert.rejects(first.trainer.run(), Paused);
        if (how === 'paused') await first.trainer.save();
        const second = await openJob(folder, options);
        if (how === 'paused') assert.equal(second.resumedStep, first.trainer.progress.step);
        await second.trainer.run();
        assert.deepEqual(second.values, expected.values);
        assert.deepEqual(second.trainer.progress, expected.trainer.progress);
        const steps = new Map([...metricsOf(first.events), ...metricsOf(second.events)].map((m) => [m.step, m]));
        assert.deepEqual([...steps.values()].map(withoutTimes), expected.metrics);
      }
    });
  }
}

test('a validation every few steps and after the last; the best is kept on the disk', async () => {
  const { metrics, checkpoints, trainer, events } = await undisturbed({
    validates: true,
    settings: { epochs: 6, learningRate: 0.5, schedule: 'constant' },
  });
  const losses = metrics.flatMap(({ step, validLoss }) => (validLoss === null ? [] : [{ step, validLoss }]));
  assert.deepEqual(
    losses.map(({ step }) => step),
    [2, 4, 6, 8, 10, 12, 14, 16, 18],
  );
  const best = losses.reduce((a, b) => (b.validLoss < a.validLoss ? b : a));
  assert.deepEqual(trainer.progress.best, best);
  assert.ok(best.step < 14, 'the best is not among the last ones');
  assert.notEqual(await checkpoints.load(best.step), null);
  const folder = join(checkpoints.folderOf(best.step), '..');
  assert.deepEqual(
    readdirSync(folder)
      .map(Number)
      .sort((a, b) => a - b),
    [best.step, 16, 18],
  );
  const saved = events.flatMap((event) => (event.type === 'checkpoint' ? [event] : []));
  assert.ok(saved.some(({ step, validLoss }) => step === best.step && validLoss === best.validLoss));
  assert.ok(saved.every(({ folder }) => folder.startsWith('/')));
});

test('it ends early when nothing has got better for long enough, and stays at its end', async () => {
  const options: JobOptions = {
    validates: true,
    settings: { epochs: 50, learningRate: 0.5, schedule: 'constant', patience: 3 },
  };
  const { trainer, metrics, checkpoints } = await undisturbed(options);
  const { best, step } = trainer.progress;
  assert.ok(trainer.isEarly);
  assert.equal(step, best!.step + 6);
  assert.equal(metrics.at(-1)!.step, step);
  const again = await openJob(join(checkpoints.folderOf(step), '..'), options);
  await again.trainer.run();
  assert.deepEqual([again.trainer.isEarly, again.trainer.progress, again.events], [true, trainer.progress, []]);
});

for (const [what, spoilt] of [
  ['loss', { loss: Number.NaN, gradient: 0 }],
  ['gradient', { loss: 0, gradient: Number.POSITIVE_INFINITY }],
] as const) {
  test(`a ${what} that is no finite number ends it, and the last good checkpoint stays`, async () => {
    const folder = temporaryFolder();
    let calls = 0;
    const options: JobOptions = {
      objective: (made) => ({
        ...made,
        async gradients(batch, weight, seed, gradients) {
          const loss = await made.gradients(batch, weight, seed, gradients);
          if (++calls < 15) return loss;
          gradients[0]! += spoilt.gradient;
          return loss + spoilt.loss;
        },
      }),
    };
    const { trainer } = await openJob(folder, options);
    const message = new RegExp(`^The ${what} of step \\d+ is no finite number`);
    await assert.rejects(trainer.run(), { code: 'training_failed', message });
    const { resumedStep } = await openJob(folder);
    assert.ok(resumedStep > 0 && resumedStep <= trainer.progress.step);
  });
}

test('a full disk ends it with what the disk says, and older checkpoints stay', async () => {
  const folder = temporaryFolder();
  let files = 0;
  const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  const { trainer } = await openJob(folder, {
    settings: { epochs: 9 },
    async write(path, bytes) {
      if (++files > 10) throw full;
      const { writeFile } = await import('node:fs/promises');
      await writeFile(path, bytes);
    },
  });
  await assert.rejects(trainer.run(), full);
  assert.deepEqual(readdirSync(folder).sort(), ['2', '4']);
  assert.equal((await openJob(folder, { settings: { epochs: 9 } })).resumedStep, 4);
  assert.ok(!existsSync(join(folder, '6')));
});
