// Measures one training step, forward and backward, beside PEFT on torch in float32: same GGUF, same threads, in turns,
// each in a process of its own. Prints a table and writes a result file.
//
//     npm run bench:training -- --python path/to/python [--threads 2] [--rounds 3] [--lines 4] [--tokens 128]
//         [--targets 32] [--only r=4] [--rows rows.jsonl --steps 3] [--device cpu] [--model random:1b]
//         [--precision float32,bfloat16]
//
// With --device both sides run there, except a job on rows, which only Lorikeet runs there. PEFT has no WebGPU, and not
// the random weights (of LORIKEET_WEIGHT_BITS, 32 by default). Several precisions are measured one after the other; in
// bfloat16 PEFT computes under torch's autocast.
//
// The Python needs torch, transformers, peft and gguf; without --python only Lorikeet runs. --only takes the adapters
// whose names begin so, without recomputation. --rows adds the first steps of a job on that file, 8 rows a step.

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { assertTrainingPrecision } from '../src/config-checks.ts';
import { systemClock } from '../src/core/clock.ts';
import type { TrainingPrecision } from '../src/core/training-precision.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { mallocEnvironment } from '../src/runtime/malloc.ts';
import { describeMachine } from './machine.ts';
import { spread } from './statistics.ts';
import { adapters, lastLine, type TrainingCase, type TrainingSample } from './training/cases.ts';
import { type JobCase, type JobSample, trainOurs, trainPeft } from './training/jobs.ts';

const { values: flags } = parseArgs({
  options: {
    python: { type: 'string' },
    device: { type: 'string' },
    precision: { type: 'string' },
    model: { type: 'string' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    rounds: { type: 'string', default: '3' },
    lines: { type: 'string', default: '4' },
    tokens: { type: 'string', default: '128' },
    targets: { type: 'string', default: '32' },
    only: { type: 'string', default: '' },
    rows: { type: 'string' },
    steps: { type: 'string', default: '3' },
  },
});
const { config } = loadConfig(flags.device === undefined ? {} : { 'training-device': flags.device });
const { trainingDevice: device } = config;
const precisions = (flags.precision ?? config.trainingPrecision).split(',') as TrainingPrecision[];
for (const precision of precisions) assertTrainingPrecision(device, precision);
const model = flags.model ?? config.model;
const gguf = model.startsWith('random:') ? null : (await resolveModel(model, modelSources(config))).weights[0]!;
const python = gguf === null || device === 'webgpu' ? undefined : flags.python;
const folder = join(import.meta.dirname, 'training');

type Side = JobSample;
type Row = {
  readonly adapter: string;
  readonly precision: TrainingPrecision;
  readonly recompute: boolean;
  readonly lorikeet: Side;
  readonly peft: Side | null;
};

const rows: Row[] = [];
for (const precision of precisions) measure(precision);
const said = { ...flags, python: undefined, rows: undefined };
const result = { machine: describeMachine(), model, device, loadAverage: os.loadavg(), flags: said, rows };
const results = join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
const day = new Date(systemClock.now()).toISOString().slice(0, 10);
const place = device === 'cpu' ? '' : `-${device.replace(':', '-')}`;
writeFileSync(join(results, `${day}-training${place}.json`), `${JSON.stringify(result, null, 2)}\n`);

function measure(precision: TrainingPrecision): void {
  for (const [adapter, pairs] of Object.entries(adapters)) {
    if (!adapter.startsWith(flags.only)) continue;
    for (const recompute of flags.only === '' ? [false, true] : [false]) {
      const one: TrainingCase = {
        ...pairs,
        ...{ model, device, precision },
        threads: Number(flags.threads),
        lines: Number(flags.lines),
        tokens: Number(flags.tokens),
        targets: Number(flags.targets),
        recompute,
        steps: 3,
      };
      const sides = inTurns(
        () => measureOurs(one),
        (python) => measurePeft(python, one),
      );
      report({ adapter, precision, recompute, ...sides });
    }
  }
  if (flags.rows !== undefined && gguf !== null) {
    const one: JobCase = {
      ...{ model, device, precision, gguf, rows: flags.rows },
      ...{ steps: Number(flags.steps), threads: Number(flags.threads) },
    };
    const sides = inTurns(() => trainOurs(one), device === 'cpu' ? (python) => trainPeft(python, one) : null);
    report({ adapter: 'r=4 q,v, a job on rows', precision, recompute: false, ...sides });
  }
}

function report(row: Row): void {
  rows.push(row);
  console.log(lineOf(row));
}

function inTurns(
  ours: () => JobSample,
  theirs: ((python: string) => JobSample) | null,
): Pick<Row, 'lorikeet' | 'peft'> {
  const samples: { ours: JobSample[]; theirs: JobSample[] } = { ours: [], theirs: [] };
  for (let round = 0; round < Number(flags.rounds); round++) {
    samples.ours.push(ours());
    if (python !== undefined && theirs !== null) samples.theirs.push(theirs(python));
  }
  return { lorikeet: sideOf(samples.ours), peft: samples.theirs.length === 0 ? null : sideOf(samples.theirs) };
}

function measureOurs(one: TrainingCase): TrainingSample {
  const env = { ...process.env, ...mallocEnvironment };
  return lastLine(execFileSync(process.execPath, [join(folder, 'step.ts'), JSON.stringify(one)], { env }));
}

function measurePeft(python: string, one: TrainingCase): TrainingSample {
  const env = { ...process.env, OMP_NUM_THREADS: String(one.threads), HF_HUB_OFFLINE: '1' };
  const script = [join(folder, 'peft-step.py'), gguf!, JSON.stringify(one)];
  return lastLine(execFileSync(python, script, { env, stdio: ['ignore', 'pipe', 'ignore'] }));
}

function sideOf(samples: readonly JobSample[]): Side {
  const median = (of: (sample: JobSample) => number) => spread(samples.map(of)).median;
  return {
    tokensPerSecond: median((sample) => sample.tokensPerSecond),
    cpuSecondsPerStep: median((sample) => sample.cpuSecondsPerStep),
    peakRssBytes: median((sample) => sample.peakRssBytes),
  };
}

function lineOf({ adapter, precision, recompute, lorikeet, peft }: Row): string {
  const side = (name: string, { tokensPerSecond, cpuSecondsPerStep, peakRssBytes }: Side) =>
    `${name} ${tokensPerSecond.toFixed(0)} tokens/s, ${cpuSecondsPerStep.toFixed(2)} CPU s a step, ` +
    `${(peakRssBytes / 2 ** 20).toFixed(0)} MiB`;
  const ratios =
    peft &&
    `ratio ${(lorikeet.tokensPerSecond / peft.tokensPerSecond).toFixed(2)}, ` +
      `memory ${(lorikeet.peakRssBytes / peft.peakRssBytes).toFixed(2)}`;
  const parts = [side('lorikeet', lorikeet), ...(peft ? [side('PEFT', peft), ratios!] : [])];
  return `${adapter}, ${precision}${recompute ? ', recompute' : ''}: ${parts.join('; ')}`;
}
