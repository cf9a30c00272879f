// One training step, forward and backward, beside PEFT on torch in float32: same GGUF, same threads, in turns, each in
// a process of its own. Prints a table and writes a result file.
//
//     npm run bench:training -- --python path/to/python [--threads 2] [--rounds 3] [--lines 4] [--tokens 128]
//         [--targets 32]
//
// The Python needs torch, transformers, peft and gguf; without --python only our side runs.

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { modelSources } from '../src/main.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { mallocEnvironment } from '../src/runtime/malloc.ts';
import { describeMachine } from './machine.ts';
import { spread } from './statistics.ts';
import { adapters, type TrainingCase, type TrainingSample } from './training/cases.ts';

const { values: flags } = parseArgs({
  options: {
    python: { type: 'string' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    rounds: { type: 'string', default: '3' },
    lines: { type: 'string', default: '4' },
    tokens: { type: 'string', default: '128' },
    targets: { type: 'string', default: '32' },
  },
});
const { config } = loadConfig();
const files = await resolveModel(config.model, modelSources(config));
const folder = join(import.meta.dirname, 'training');

type Side = { readonly tokensPerSecond: number; readonly cpuSecondsPerStep: number; readonly peakRssBytes: number };
type Row = {
  readonly adapter: string;
  readonly recompute: boolean;
  readonly lorikeet: Side;
  readonly peft: Side | null;
};

const rows: Row[] = [];
for (const [adapter, pairs] of Object.entries(adapters)) {
  for (const recompute of [false, true]) {
    const one: TrainingCase = {
      ...pairs,
      model: config.model,
      threads: Number(flags.threads),
      lines: Number(flags.lines),
      tokens: Number(flags.tokens),
      targets: Number(flags.targets),
      recompute,
      steps: 3,
    };
    const [ours, theirs]: [TrainingSample[], TrainingSample[]] = [[], []];
    for (let round = 0; round < Number(flags.rounds); round++) {
      ours.push(measureOurs(one));
      if (flags.python !== undefined) theirs.push(measurePeft(flags.python, one));
    }
    const row = { adapter, recompute, lorikeet: sideOf(ours), peft: theirs.length === 0 ? null : sideOf(theirs) };
    rows.push(row);
    console.log(lineOf(row));
  }
}
const result = { machine: describeMachine(), flags: { ...flags, python: undefined }, rows };
const results = join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
const day = new Date(systemClock.now()).toISOString().slice(0, 10);
writeFileSync(join(results, `${day}-training.json`), `${JSON.stringify(result, null, 2)}\n`);

function measureOurs(one: TrainingCase): TrainingSample {
  const env = { ...process.env, ...mallocEnvironment };
  return lastLine(execFileSync(process.execPath, [join(folder, 'step.ts'), JSON.stringify(one)], { env }));
}

function measurePeft(python: string, one: TrainingCase): TrainingSample {
  const env = { ...process.env, OMP_NUM_THREADS: String(one.threads), HF_HUB_OFFLINE: '1' };
  const script = [join(folder, 'peft-step.py'), files.weights[0]!, JSON.stringify(one)];
  return lastLine(execFileSync(python, script, { env, stdio: ['ignore', 'pipe', 'ignore'] }));
}

function lastLine(output: Buffer): TrainingSample {
  return JSON.parse(output.toString().trim().split('\n').at(-1)!) as TrainingSample;
}

function sideOf(samples: readonly TrainingSample[]): Side {
  const median = (of: (sample: TrainingSample) => number) => spread(samples.map(of)).median;
  return {
    tokensPerSecond: median((sample) => sample.tokensPerSecond),
    cpuSecondsPerStep: median((sample) => sample.cpuSecondsPerStep),
    peakRssBytes: median((sample) => sample.peakRssBytes),
  };
}

function lineOf({ adapter, recompute, lorikeet, peft }: Row): string {
  const side = (name: string, { tokensPerSecond, cpuSecondsPerStep, peakRssBytes }: Side) =>
    `${name} ${tokensPerSecond.toFixed(0)} tokens/s, ${cpuSecondsPerStep.toFixed(2)} CPU s a step, ` +
    `${(peakRssBytes / 2 ** 20).toFixed(0)} MiB`;
  const ratios =
    peft &&
    `ratio ${(lorikeet.tokensPerSecond / peft.tokensPerSecond).toFixed(2)}, ` +
      `memory ${(lorikeet.peakRssBytes / peft.peakRssBytes).toFixed(2)}`;
  const parts = [side('lorikeet', lorikeet), ...(peft ? [side('PEFT', peft), ratios!] : [])];
  return `${adapter}${recompute ? ', recompute' : ''}: ${parts.join('; ')}`;
}
