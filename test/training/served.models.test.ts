// On the real base model, with all threads: a job learns, the result is served with the log-probabilities that it was
// trained to, and a pause changes no bit.

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { loadWeights } from '../../src/graph/weights.ts';
import { readGguf } from '../../src/models/read-gguf.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { readDataset } from '../../src/training/dataset.ts';
import { Paused, runJob } from '../../src/training/run-job.ts';
import { startingPoint } from '../../src/training/starting-point.ts';
import { rowEncoder } from '../../src/training/token-row.ts';
import { realModelFiles } from '../helpers/real-model.ts';
import { resultFiles } from './result-files.ts';
import { servedLogprobs, trainedLogprobs } from './served.ts';
import { tinyJob } from './tiny-job.ts';

const rows = [
  ['name : Aromi | food : English | area : riverside\n', 'Aromi serves English food by the riverside .'],
  ['name : Cocum | price : high | family friendly : yes\n', 'Cocum is expensive , and welcomes children .'],
  ['name : Cotto | food : Chinese\n', 'You can eat Chinese food at Cotto .'],
].map(([prompt, completion]) => ({ prompt, completion }));

test('an adapter trained on the real model is served as it was trained', async (t) => {
  const model = await realModelFiles();
  const settings = { epochs: 6, batchRows: 3, r: 4, loraAlpha: 8, learningRate: 5e-3, warmupSteps: 1 };
  const job = await tinyJob({ rows, settings, job: { model } });
  const losses: number[] = [];
  const end = await runJob(job, {
    clock: systemClock,
    emit: (event) => event.type === 'step' && losses.push(event.metrics.trainLoss),
    between: async () => {},
  });
  assert.ok(end.type === 'finished', JSON.stringify(end));
  t.diagnostic(`loss ${losses.map((loss) => loss.toFixed(3)).join(' ')}`);
  assert.ok(losses.at(-1)! < 0.6 * losses[0]!);

  const runtime = createOnnxRuntime({ library: null, threads: null, spin: false });
  const { model: lowered } = await loadWeights(model, null, job.cacheDir, assert.fail);
  const encode = rowEncoder(await loadTokenizer(model, (path) => readGguf(path).metadata));
  const dataset = await readDataset(job.trainingFile, encode, 64);
  const files = resultFiles(end.folder);
  const served = await servedLogprobs(runtime, lowered, files, dataset.rows);
  const start = await startingPoint({ ...job, initial: files }, lowered.shape);
  const trained = await trainedLogprobs(runtime, lowered, start, dataset.rows, 512);
  const differences = served.map((logprob, index) => Math.abs(logprob - trained[index]!));
  const mean = differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
  const largest = Math.max(...differences);
  t.diagnostic(`${served.length} targets differ by ${mean.toExponential(1)}, at most ${largest.toExponential(1)}`);
  assert.ok(largest < 0.01);
});

test('paused after its first step, it ends with the bits of an undisturbed run', async () => {
  const model = await realModelFiles();
  const run = async (pausesAt: number | null) => {
    const settings = { epochs: null, maxSteps: 3, batchRows: 2, shuffle: true, loraDropout: 0.1 };
    const job = await tinyJob({ rows, settings, job: { model, threads: null } });
    let micros = 0;
    const between = async () => {
      if (++micros === pausesAt) throw new Paused();
    };
    const around = { clock: systemClock, emit: () => {}, between };
    let end = await runJob(job, around);
    if (pausesAt !== null) {
      assert.ok(end.type === 'paused' && end.step === 1, JSON.stringify(end));
      end = await runJob(job, around);
    }
    assert.ok(end.type === 'finished', JSON.stringify(end));
    return resultFiles(end.folder).digest;
  };
  // The second micro-batch is that of the second step.
  assert.equal(await run(2), await run(null));
});
