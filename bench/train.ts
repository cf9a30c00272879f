// Runs a training job without a server: the trainer's process alone, driven as the server drives it. Prints each step,
// and at the end tokens a second and the process's peak memory.
//
//     node bench/train.ts --train rows.jsonl --out folder [--validation rows.jsonl --validation-rows 64] [--steps 150]
//         [--batch 8] [--rate 2e-3] [--warmup 10] [--r 4] [--alpha 8] [--targets q_proj,v_proj] [--threads 2]
//         [--max-tokens 256] [--eval-steps 50] [--recompute] [--device cpu] [--precision float32] [--json]
//
// Ctrl-C pauses; another run with the same folder resumes.

import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import type { TargetModule } from '../src/core/adapter.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { headlessJob, runTrainer, usualHyperparameters } from './training/headless.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'SmolLM2-135M-Instruct' },
    train: { type: 'string' },
    validation: { type: 'string' },
    'validation-rows': { type: 'string', default: '64' },
    out: { type: 'string' },
    steps: { type: 'string', default: '150' },
    batch: { type: 'string', default: '8' },
    rate: { type: 'string', default: '2e-3' },
    warmup: { type: 'string', default: '10' },
    r: { type: 'string', default: '4' },
    alpha: { type: 'string', default: '8' },
    targets: { type: 'string', default: 'q_proj,v_proj' },
    threads: { type: 'string' },
    device: { type: 'string' },
    precision: { type: 'string' },
    'max-tokens': { type: 'string', default: '256' },
    'eval-steps': { type: 'string', default: '50' },
    recompute: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
if (flags.train === undefined || flags.out === undefined)
  throw new Error('--train <rows> and --out <folder> are needed');

const { config } = loadConfig({
  ...(flags.device && { 'training-device': flags.device }),
  ...(flags.precision && { 'training-precision': flags.precision }),
});
const { validation } = flags;
const job = headlessJob({
  config,
  model: await resolveModel(flags.model, modelSources(config)),
  threads: flags.threads === undefined ? null : Number(flags.threads),
  trainingFile: resolve(flags.train),
  validation: validation === undefined ? null : { path: validation, rows: Number(flags['validation-rows']) },
  hyperparameters: {
    ...usualHyperparameters,
    ...{ maxSteps: Number(flags.steps), batchRows: Number(flags.batch), learningRate: Number(flags.rate) },
    ...{ warmupSteps: Number(flags.warmup), r: Number(flags.r), loraAlpha: Number(flags.alpha) },
    targetModules: flags.targets.split(',') as TargetModule[],
    ...{ maxTokens: Number(flags['max-tokens']), evalSteps: Number(flags['eval-steps']), recompute: flags.recompute },
  },
  folder: resolve(flags.out),
});
const { ended, ...figures } = await runTrainer(job, (event) => {
  if (!flags.json) console.log(JSON.stringify(event));
});
if (ended.type === 'finished') {
  const { step, trainedTokens, folder } = ended;
  console.log(JSON.stringify({ step, trainedTokens, ...figures, folder }));
}
