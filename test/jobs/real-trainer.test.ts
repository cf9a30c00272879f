// The whole way with the real trainer's process on a tiny model: rows, queue, process, checkpoints, registry. A job
// that is killed and paused on the way gives the same adapter.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { environmentForChildren } from '../../src/config.ts';
import type { TrainerConfig } from '../../src/jobs/options.ts';
import { openModel } from '../../src/models/open.ts';
import { trainerProcessStarter } from '../../src/protocol/trainer-process.ts';
import { plainTrainer, testJobs } from '../helpers/test-jobs.ts';
import { testRegistry } from '../helpers/test-registry.ts';
import { testDevice } from '../helpers/test-runtime.ts';
import { tinyFiles } from '../helpers/tiny-lowered.ts';

const entry = new URL('../../src/training/main.ts', import.meta.url);
const choices = { maxSteps: 8, batchRows: 2, checkpointSteps: 2, evalSteps: 4, seed: 4, r: 2, maxTokens: 32 };

async function realJobs(t: TestContext, changes: Partial<TrainerConfig> = {}) {
  const files = await tinyFiles('llama');
  const { shape } = await openModel(files);
  const base = { name: files.name, digest: files.digest, shape: () => shape };
  const registry = await testRegistry(t, { base });
  const startTrainer = trainerProcessStarter(entry, environmentForChildren());
  const trainer = { ...plainTrainer, cacheDir: registry.folder, threads: 1, ...changes };
  const jobs = { base: { files, shape: () => shape }, startTrainer, trainer };
  return { testing: await testJobs(t, { registry, jobs }), model: files.name };
}

test('a device that is not there fails the job with what is missing', {
  skip: testDevice.kind === 'cuda',
}, async (t) => {
  const { testing, model } = await realJobs(t, { device: 'cuda:1' });
  const { id } = await testing.create({ model, trainingFile: (await testing.file()).id, choices });
  const { state, error } = await testing.reaches(id, 'succeeded', 'failed');
  assert.deepEqual([state, error?.code], ['failed', 'device_unavailable']);
  assert.match(error!.message, /cuda is not available: no ONNX Runtime with CUDA in .*setup-cuda/);
  assert.equal(testing.jobs.stats.trainerRestarts, 0);
});

test('a job is trained, and again with its trainer killed and paused: the same adapter', async (t) => {
  const { testing, model } = await realJobs(t);
  const { jobs, registry, file, create, reaches } = testing;
  const { id: trainingFile } = await file({ rows: 8 });
  const { id: validationFile } = await file({ rows: 3 });
  const ask = { model, trainingFile, validationFile, choices };
  const calm = await reaches((await create({ ...ask, suffix: 'calm' })).id, 'succeeded', 'failed');
  assert.equal(calm.state, 'succeeded', JSON.stringify(calm.error));
  const adapter = await registry.find('default', 'calm');
  assert.deepEqual([adapter.r, adapter.targetModules.length, adapter.warnings], [2, 7, []]);
  const training = await registry.training(adapter);
  assert.deepEqual([training?.steps, training?.curve.length], [8, 8]);
  assert.ok(training!.validLoss! > 0 && training!.trainedTokens > 0);

  const { id } = await create({ ...ask, suffix: 'disturbed' });
  const stepsTold = async () => (await jobs.find('default', id)).progress.step;
  while ((await stepsTold()) < 3) await setTimeout(5);
  if (testing.trainerPid) process.kill(testing.trainerPid, 'SIGKILL');
  while ((await stepsTold()) < 5) await setTimeout(5);
  await jobs.pause('default', id).catch(() => {});
  await jobs.resume('default', id).catch(() => {});
  const disturbed = await reaches(id, 'succeeded', 'failed');
  assert.equal(disturbed.state, 'succeeded', JSON.stringify(disturbed.error));
  assert.equal((await registry.find('default', 'disturbed')).digest, adapter.digest);
  const checkpoints = await jobs.checkpoints('default', id, { after: null, limit: 10 });
  assert.ok(checkpoints.length > 0);
  for (const checkpoint of checkpoints) (await registry.lease('default', checkpoint.adapter)).release();

  const further = await reaches(
    (await create({ ...ask, model: 'calm', suffix: 'further', choices: { maxSteps: 2, seed: 1 } })).id,
    'succeeded',
    'failed',
  );
  assert.equal(further.state, 'succeeded', JSON.stringify(further.error));
  assert.equal((await registry.training(await registry.find('default', 'further')))?.initial, adapter.digest);
});
