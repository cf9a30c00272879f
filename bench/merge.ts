// Measures what merges gain and cost.
//
//   speed     decode steps of a merged model against the base's, in turns
//   traffic   one adapter's share of all requests: always mixed, always on the merge, or as the engine chooses
//   life      memory of an engine's process, and the token gaps of others, while an adapter is merged and unmerged
//
//     npm run bench:merge -- [--only speed,traffic,life] [--rounds 5] [--shares 0.25,0.5,0.75,1] [--threads 2]

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { loadWeights } from '../src/graph/weights.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { createOnnxRuntime } from '../src/runtime/onnx-runtime.ts';
import { describeMachine } from './machine.ts';
import { mergeLife } from './merge/life.ts';
import { mergedSpeed } from './merge/speed.ts';
import { mergeTraffic } from './merge/traffic.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    only: { type: 'string', default: 'speed,traffic,life' },
    rounds: { type: 'string', default: '5' },
    shares: { type: 'string', default: '0.25,0.5,0.75,1' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
  },
});

const { config } = loadConfig(flags.model === undefined ? {} : { model: flags.model });
const files = await resolveModel(config.model, { ...modelSources(config), log: console.error });
const cacheDir = join(config.dataDir, 'weights');
const { model } = await loadWeights(files, null, cacheDir, console.warn);
const threads = Number(flags.threads);
const rounds = Number(flags.rounds);
const shares = flags.shares.split(',').map(Number);
const createRuntime = (spin: boolean) => createOnnxRuntime({ library: null, threads, spin: spin && threads > 1 });

const works = {
  speed: () => mergedSpeed(createRuntime(true), model, rounds),
  // Without spinning threads the processor time is that of work.
  traffic: () => mergeTraffic(createRuntime(false), model, { rounds, shares }),
  life: () => mergeLife({ files, cacheDir, threads, shape: model.shape }),
};
const results: Record<string, object> = {};
for (const name of flags.only.split(',') as (keyof typeof works)[]) {
  results[name] = await works[name]();
  console.log(`${name}:`);
  console.table(results[name]);
}

const machine = describeMachine();
const date = new Date(systemClock.now()).toISOString();
const folder = new URL('results/', import.meta.url);
mkdirSync(folder, { recursive: true });
const file = new URL(`${date.slice(0, 10)}-merge.json`, folder);
writeFileSync(file, `${JSON.stringify({ date, machine, threads, ...together() }, null, 2)}\n`);
console.log(`${machine.cpu}, ${threads} threads, commit ${machine.commit}; written to ${file.pathname}`);
process.exit(0);

/** Joins earlier results of the day: works and shares that this run leaves out keep them. */
function together(): Record<string, object> {
  const known = earlier();
  const traffic = { ...known.traffic, ...results.traffic };
  return { ...known, ...results, ...(Object.keys(traffic).length > 0 ? { traffic } : {}) };
}

function earlier(): Record<string, object> {
  try {
    const { date: _, machine: __, threads: ___, ...works } = JSON.parse(readFileSync(file, 'utf8'));
    return works;
  } catch {
    return {};
  }
}
