// Whole jobs on tiny models, in this process.

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import type { TrainerEvent, TrainingJob, TrainingMetrics } from '../../src/protocol/training-messages.ts';
import type { Surroundings } from '../../src/training/prepare.ts';
import { runJob } from '../../src/training/run-job.ts';
import { tinyJob } from './tiny-job.ts';

export async function run(job: TrainingJob, around: Partial<Surroundings> = {}) {
  const events: TrainerEvent[] = [];
  const emit = (event: TrainerEvent) => events.push(event);
  const end = await runJob(job, { clock: systemClock, emit, rest: async () => {}, ...around });
  const metrics = events.flatMap((event): TrainingMetrics[] => (event.type === 'step' ? [event.metrics] : []));
  return { end, events, metrics };
}

test('eight rows are learnt by heart', async () => {
  const settings = { epochs: 120, batchRows: 8, r: 8, loraAlpha: 16, learningRate: 0.02, weightDecay: 0 };
  const { end, metrics } = await run(
    await tinyJob({ settings: { ...settings, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'], checkpointSteps: 1000 } }),
  );
  assert.equal(end.type, 'finished', JSON.stringify(end));
  console.log(metrics.filter((_, i) => i % 10 === 0).map((m) => m.trainLoss), metrics.at(-1)!.tokensPerSecond);
});
