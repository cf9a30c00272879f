// The LoRA paper's experiments (arXiv 2106.09685, sections 4.2 and 7) on this engine: rank, choice of matrices,
// subspace similarity, amplification, and what training takes beside full fine-tuning. Prints tables beside the paper's
// own and writes a result file.
//
//     npm run bench:paper -- --train rows.jsonl --validation rows.jsonl [--validation-rows 64] [--steps 24] [--batch 4]
//         [--rate 4e-3] [--warmup 4] [--alpha 8] [--threads 2] [--tables]
//
// Trained adapters are kept under the data dir: Ctrl-C pauses, and the next run goes on. --tables trains nothing and
// writes the tables of what has been trained.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { modelSources } from '../src/main/model.ts';
import { openModel } from '../src/models/open.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { describeMachine } from './machine.ts';
import { analyseRuns } from './paper/analyse-runs.ts';
import { costsOf } from './paper/costs.ts';
import { allPlans, nameOf } from './paper/plans.ts';
import { tablesOf } from './paper/tables.ts';
import { finishedRun, type Run, type Settings, trainOnce } from './paper/train-once.ts';

const { values: flags } = parseArgs({
  options: {
    train: { type: 'string' },
    validation: { type: 'string' },
    'validation-rows': { type: 'string', default: '64' },
    steps: { type: 'string', default: '24' },
    batch: { type: 'string', default: '4' },
    rate: { type: 'string', default: '4e-3' },
    warmup: { type: 'string', default: '4' },
    alpha: { type: 'string', default: '8' },
    threads: { type: 'string' },
    tables: { type: 'boolean', default: false },
  },
});
if (flags.train === undefined || flags.validation === undefined)
  throw new Error('--train <rows> and --validation <rows> are needed');

const { config } = loadConfig();
const model = await resolveModel(config.model, modelSources(config));
const settings: Settings = {
  ...{ config, model, threads: flags.threads === undefined ? null : Number(flags.threads) },
  trainingFile: resolve(flags.train),
  validation: { path: resolve(flags.validation), rows: Number(flags['validation-rows']) },
  ...{ steps: Number(flags.steps), batchRows: Number(flags.batch), learningRate: Number(flags.rate) },
  ...{ warmupSteps: Number(flags.warmup), loraAlpha: Number(flags.alpha) },
};

const runs = new Map<string, Run>();
for (const plan of allPlans) {
  const run = finishedRun(plan, settings) ?? (flags.tables ? null : await trainOnce(plan, settings));
  if (run !== null) runs.set(nameOf(plan), run);
  if (run !== null || flags.tables) continue;
  console.error(`${nameOf(plan)} is paused; the same command goes on.`);
  process.exit(1);
}

const base = await openModel(model);
const analysis = await analyseRuns(runs, model, base);
const costs = costsOf(runs, base);
console.log(tablesOf(runs, analysis, costs));

const { config: _, model: __, trainingFile, validation, ...chosen } = settings;
const result = {
  ...{ machine: describeMachine(), model: model.name, settings: chosen },
  runs: [...runs.values()].map(({ adapter, ...figures }) => ({ ...figures, digest: adapter.digest })),
  ...{ analysis, costs },
};
const results = join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
const day = new Date(systemClock.now()).toISOString().slice(0, 10);
writeFileSync(join(results, `${day}-paper.json`), `${JSON.stringify(result, null, 2)}\n`);
