// Measures a server with many adapters over HTTP against itself in another state. Both run in turns on the same data.
//
//   registered   base-only traffic with `--adapters` registered, against a server with none
//   zipf         traffic over all of them by a power law, against the same traffic over 8
//   cold         first token of an adapter that is only on disk, against one in memory; and what others notice of it
//   swaps        1,000 uploads and uses of new adapters, one after another: memory before and after
//
//     npm run bench:many -- [--adapters 1000] [--rounds 5] [--only registered,zipf,cold,swaps]

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { describeMachine } from './machine.ts';
import { coldStarts } from './many/cold.ts';
import { registeredAgainstNone } from './many/registered.ts';
import { swaps } from './many/swaps.ts';
import { zipfAgainstFew } from './many/zipf.ts';
import { withDataFolder } from './peers/http-works.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    adapters: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    only: { type: 'string', default: 'registered,zipf,cold,swaps' },
  },
});

const { config } = loadConfig(flags.model === undefined ? {} : { model: flags.model });
const { weights } = await resolveModel(config.model, { ...modelSources(config), log: console.error });
const setup = { model: weights[0]!, threads: Number(flags.threads), promptTokens: 32, requests: 16 };
const size = { adapters: Number(flags.adapters), rounds: Number(flags.rounds) };

const works = { registered: registeredAgainstNone, zipf: zipfAgainstFew, cold: coldStarts, swaps } as const;
const results: Record<string, object> = {};
for (const name of flags.only.split(',') as (keyof typeof works)[]) {
  results[name] = await withDataFolder((folder) => works[name](setup, folder, size));
  console.log(`${name}: ${JSON.stringify(results[name])}`);
}

const machine = describeMachine();
const date = new Date(systemClock.now()).toISOString();
const folder = new URL('results/', import.meta.url);
mkdirSync(folder, { recursive: true });
const file = new URL(`${date.slice(0, 10)}-many.json`, folder);
writeFileSync(file, `${JSON.stringify({ date, machine, ...size, ...earlier(), ...results }, null, 2)}\n`);
console.log(`${machine.cpu}, ${setup.threads} threads, commit ${machine.commit}; written to ${file.pathname}`);

/** Reads earlier results of the day: works that this run leaves out keep them. */
function earlier(): object {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as object;
  } catch {
    return {};
  }
}
