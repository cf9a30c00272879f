// Runs one case of bench/training.ts with Lorikeet, in a process of its own so that its peak memory is its own: forward
// and backward of one batch of random tokens. Prints a line of JSON.
//
//     node bench/training/step.ts '<a TrainingCase>' [profile prefix]

import { cudaDir, loadConfig } from '../../src/config.ts';
import { systemClock } from '../../src/core/clock.ts';
import { parseDevice } from '../../src/core/device.ts';
import { prng } from '../../src/core/prng.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { randomAdapter, trainingSession } from '../../test/helpers/training-session.ts';
import { benchModel } from '../gpu/model.ts';
import type { TrainingCase, TrainingSample } from './cases.ts';

const one = JSON.parse(process.argv[2]!) as TrainingCase;
const { config } = loadConfig();
const model = await benchModel(one.model, config.weightBits, config);
const runtime = createOnnxRuntime({
  ...{ library: config.ortLibrary, threads: one.threads, spin: false },
  ...{ device: parseDevice(one.device), cudaDir: cudaDir(config.dataDir) },
});
const random = prng(1);
const { lines, tokens, targets } = one;

const form = {
  targets: Array.from({ length: model.shape.layers }, (_, layer) =>
    one.modules.map((module) => ({ layer, module, r: one.r, scaling: 2 })),
  ).flat(),
  positions: tokens,
  dropout: false,
  backward: true,
  recompute: one.recompute,
  precision: one.precision,
};
const drawn = () => Math.floor(random() * model.shape.vocabulary);
const sampled = Array.from({ length: lines }, (_, line) =>
  Array.from({ length: targets }, (_, i) => (line + 1) * tokens - targets + i),
).flat();
const batch = {
  tokens: Array.from({ length: lines }, () => Array.from({ length: tokens }, drawn)),
  positions: Array.from({ length: lines }, () => Array.from({ length: tokens }, (_, i) => i)),
  segments: Array.from({ length: lines }, () => new Array<number>(tokens).fill(0)),
  sampled,
  labels: sampled.map(drawn),
  lossWeights: sampled.map(() => 1 / sampled.length),
};
const adapter = randomAdapter(model, form, random, 0.02);
const step = await trainingSession(runtime, model, form, process.argv[3]);

let loss = (await step(batch, adapter)).loss;
const before = process.cpuUsage();
const times: number[] = [];
for (let i = 0; i < one.steps; i++) {
  const start = systemClock.monotonic();
  loss = (await step(batch, adapter)).loss;
  times.push((systemClock.monotonic() - start) / 1000);
}
const { user, system } = process.cpuUsage(before);
const seconds = times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
const sample: TrainingSample = {
  tokensPerSecond: (lines * tokens) / seconds,
  cpuSecondsPerStep: (user + system) / 1e6 / one.steps,
  peakRssBytes: process.resourceUsage().maxRSS * 1024,
  loss,
};
console.log(JSON.stringify(sample));
// A profile is written when its session is released.
step.release();
process.exit(0);
