// Jobs on a device: that of LORIKEET_TEST_DEVICE, or the processor in a device's role.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { loadWeights } from '../../src/graph/weights.ts';
import type { Hyperparameters, TrainerEvent, TrainingJob } from '../../src/protocol/training-messages.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { Paused, runJob } from '../../src/training/run-job.ts';
import { asDevice, hostBeside, isSlow, testDevice, testRuntime } from '../helpers/test-runtime.ts';
import { resultFiles } from './result-files.ts';
import { eightRows, tinyJob } from './tiny-job.ts';

const opened = testRuntime();
const host = hostBeside(opened);
const device = opened.device === null ? asDevice(opened, {}) : opened;

async function run(job: TrainingJob, runtime: Runtime | null) {
  const losses: number[] = [];
  const emit = (event: TrainerEvent) => {
    if (event.type === 'step') losses.push(event.metrics.trainLoss, event.metrics.validLoss ?? 0);
  };
  const openRuntime = runtime === null ? {} : { openRuntime: () => runtime };
  const end = await runJob(job, { clock: systemClock, emit, between: async () => {}, ...openRuntime });
  return { end, losses };
}

const settings: Partial<Hyperparameters> = {
  ...{ epochs: isSlow ? 3 : 20, batchRows: 4, r: 4, learningRate: 0.02, loraDropout: 0.1, evalSteps: 2 },
  targetModules: ['q_proj', 'v_proj', 'down_proj'],
};
const plainJob = (job: Partial<TrainingJob> = {}) => tinyJob({ settings, validation: eightRows.slice(0, 2), job });

test('it learns as on the processor, dropout and validation included, and twice the same bits', async () => {
  const job = await plainJob();
  const expected = await run(job, host);
  const { end, losses } = await run(await plainJob(), device);
  assert.ok(end.type === 'finished', JSON.stringify(end));
  assert.ok(losses.at(-2)! < 0.8 * losses[0]!, `${losses}`);
  assert.equal(losses.length, expected.losses.length);
  // Later steps carry on differences in the last bits.
  for (const [i, loss] of losses.entries()) {
    assert.ok(Math.abs(loss - expected.losses[i]!) < 1e-3 * losses[0]!, `${i}: ${loss} for ${expected.losses[i]}`);
  }
  const again = await run(await plainJob(), device);
  assert.ok(again.end.type === 'finished');
  assert.equal(resultFiles(again.end.folder).digest, resultFiles(end.folder).digest);

  const { model } = await loadWeights(job.model, null, job.cacheDir, assert.fail);
  const [config, weights] = ['adapter_config.json', 'adapter_model.safetensors'].map((name) =>
    readFileSync(join(end.folder, name)),
  ) as [Buffer, Buffer];
  const header = parseSafetensorsHeader(weights, weights.length)!;
  const { pairs, warnings } = readPeftAdapter(config, header, model.shape, job.model.name);
  assert.deepEqual([pairs.length, warnings], [6, []]);
});

test('a job goes on where another device left it', async () => {
  const job = await plainJob();
  const few = { ...job, hyperparameters: { ...job.hyperparameters, checkpointSteps: 2 } };
  let steps = 0;
  const stopped = await runJob(few, {
    ...{ clock: systemClock, emit: () => {}, openRuntime: () => host },
    async between() {
      if (++steps > 3) throw new Paused();
    },
  });
  assert.equal(stopped.type, 'paused');
  const { end, losses } = await run(few, device);
  assert.ok(end.type === 'finished', JSON.stringify(end));
  const whole = await run(await plainJob(), host);
  assert.ok(losses.length > 0 && losses.length < whole.losses.length);
  assert.ok(Math.abs(losses.at(-1)! - whole.losses.at(-1)!) < 1e-2 * whole.losses[0]!);
});

test('a device that is not there ends the job with what is missing', { skip: testDevice.kind === 'cuda' }, async () => {
  const { end } = await run(await plainJob({ device: 'cuda' }), null);
  assert.ok(end.type === 'failed', JSON.stringify(end));
  assert.equal(end.code, 'device_unavailable');
  assert.match(end.message, /cuda is not available: no ONNX Runtime with CUDA in \/nowhere.*setup-cuda/);
});
