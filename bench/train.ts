// A training job without a server: the trainer's process alone, driven as the server drives it. Prints each step, and
// at the end tokens a second and the process's peak memory.
//
//     node bench/train.ts --train rows.jsonl --out folder [--validation rows.jsonl --validation-rows 64] [--steps 150]
//         [--batch 8] [--rate 2e-3] [--warmup 10] [--r 4] [--alpha 8] [--targets q_proj,v_proj] [--threads 2]
//         [--max-tokens 256] [--eval-steps 50] [--recompute] [--json]
//
// Ctrl-C pauses; a second run with the same folder goes on where the first was ended.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { environmentForChildren, loadConfig } from '../src/config.ts';
import type { TargetModule } from '../src/core/adapter.ts';
import { modelSources } from '../src/main.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { trainerProcessStarter } from '../src/protocol/trainer-process.ts';
import type { Hyperparameters, TrainerEvent, TrainingJob } from '../src/protocol/training-messages.ts';
import { mallocEnvironment } from '../src/runtime/malloc.ts';

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
    'max-tokens': { type: 'string', default: '256' },
    'eval-steps': { type: 'string', default: '50' },
    recompute: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
if (flags.train === undefined || flags.out === undefined)
  throw new Error('--train <rows> and --out <folder> are needed');

const out = resolve(flags.out);
mkdirSync(out, { recursive: true });
const { config } = loadConfig();

const hyperparameters: Hyperparameters = {
  ...{ epochs: null, maxSteps: Number(flags.steps), batchRows: Number(flags.batch), batchTokens: null },
  ...{ learningRate: Number(flags.rate), schedule: 'linear', warmupSteps: Number(flags.warmup) },
  ...{ weightDecay: 0, maxGradNorm: 1, r: Number(flags.r), loraAlpha: Number(flags.alpha) },
  targetModules: flags.targets.split(',') as TargetModule[],
  ...{ rankPattern: {}, useRslora: false, loraDropout: 0, seed: 1, shuffle: false },
  ...{ maxTokens: Number(flags['max-tokens']), evalSteps: Number(flags['eval-steps']), checkpointSteps: 50 },
  ...{ patience: null, recompute: flags.recompute },
};

const job: TrainingJob = {
  id: 'bench',
  model: await resolveModel(flags.model, modelSources(config)),
  weightBits: config.weightBits,
  cacheDir: join(config.dataDir, 'weights'),
  ortLibrary: config.ortLibrary,
  threads: flags.threads === undefined ? null : Number(flags.threads),
  trainingFile: resolve(flags.train),
  validationFile: flags.validation === undefined ? null : firstRows(flags.validation, Number(flags['validation-rows'])),
  hyperparameters,
  initial: null,
  folder: out,
};

const entry = new URL('../src/training/main.ts', import.meta.url);
const start = trainerProcessStarter(entry, { ...environmentForChildren(), ...mallocEnvironment });
const child = start({ onEvent: report, onExit: (reason) => fail(`The trainer ${reason}.`) });
/** Of all steps but the first, which makes what the others find. */
const sum = { steps: 0, tokens: 0, seconds: 0 };
let [peakRssBytes, cpuSeconds, validLoss] = [0, null as number | null, null as number | null];
child.send({ type: 'start', job });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.send({ type: 'pause' }));

function report(event: TrainerEvent): void {
  peakRssBytes = Math.max(peakRssBytes, residentBytes(child.pid));
  if (event.type === 'step') {
    const { tokens, tokensPerSecond } = event.metrics;
    if (cpuSeconds === null) cpuSeconds = processorSeconds(child.pid);
    else {
      sum.steps++;
      sum.tokens += tokens;
      sum.seconds += tokens / tokensPerSecond;
    }
    validLoss = event.metrics.validLoss ?? validLoss;
  }
  if (event.type === 'failed') fail(event.message);
  if (!flags.json) console.log(JSON.stringify(event));
  if (event.type === 'paused') process.exit(0);
  if (event.type !== 'finished') return;
  const { step, trainedTokens, folder } = event;
  const tokensPerSecond = sum.tokens / sum.seconds;
  const cpuSecondsPerStep = (processorSeconds(child.pid) - cpuSeconds!) / sum.steps;
  const figures = { tokensPerSecond, cpuSecondsPerStep, peakRssBytes };
  console.log(JSON.stringify({ step, trainedTokens, validLoss, ...figures, folder }));
  process.exit(0);
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

/** The most that the process has held so far; 0 where the system does not tell. */
function residentBytes(pid: number | undefined): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
  } catch {
    return 0;
  }
}

/** Of all its threads so far, in hundredths as Linux counts them; 0 where the system does not tell. */
function processorSeconds(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

function firstRows(path: string, count: number): string {
  const cut = join(out, 'validation.jsonl');
  writeFileSync(cut, `${readFileSync(path, 'utf8').split('\n').slice(0, count).join('\n')}\n`);
  return cut;
}
