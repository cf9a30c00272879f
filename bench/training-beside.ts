// Measures what serving and training cost each other. First the load that saturates the server is found. Then requests
// come at half of it, in turns with a training job and without, and the job also trains alone.
//
//     npm run bench:training-beside -- --train rows.jsonl [--rounds 3] [--seconds 20] [--share 0.67] [--threads 2]
//         [--load 0.5] [--batch 8] [--name half]
//
// Rows are {prompt, completion}. Writes bench/results.

import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { describeMachine } from './machine.ts';
import { startOurs } from './many/server.ts';
import { withDataFolder } from './peers/http-works.ts';
import { spread } from './statistics.ts';
import { type MeasuredJob, measuredJob } from './training-beside/job.ts';
import { type Served, saturation, serveSteadily } from './training-beside/load.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    train: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '20' },
    share: { type: 'string', default: '0.67' },
    load: { type: 'string', default: '0.5' },
    batch: { type: 'string', default: '8' },
    name: { type: 'string', default: 'half' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
  },
});
if (flags.train === undefined) throw new Error('--train <rows> is needed');
const rows = flags.train;
const seconds = Number(flags.seconds);
/** As many slots as the other benchmarks of the whole server have. */
const slots = 16;

type Round = {
  readonly without: Served;
  readonly beside: Served;
  /** The job's tokens a second. */
  readonly job: { readonly alone: number; readonly beside: number };
  readonly loadAverage: number;
};

const { config } = loadConfig(flags.model === undefined ? {} : { model: flags.model });
const { weights } = await resolveModel(config.model, { ...modelSources(config), log: console.error });
const setup = { model: weights[0]!, threads: Number(flags.threads), promptTokens: 32, requests: 16 };
const result = await withDataFolder(async (folder) => {
  const server = await startOurs(setup, folder, ['--training-share', flags.share]);
  try {
    const most = await saturation(server.url, slots);
    console.log(`saturated at ${most.toFixed(0)} tokens/s`);
    const job = await measuredJob(server.url, rows, Number(flags.batch));
    const measured: Round[] = [];
    for (let round = 0; round < Number(flags.rounds); round++) {
      measured.push(await measureRound(server.url, job, most * Number(flags.load)));
      console.log(JSON.stringify(summaryOf(measured.slice(-1))));
    }
    return { saturation: most, ...summaryOf(measured), rounds: measured.map((one) => summaryOf([one])) };
  } finally {
    await server.stop();
  }
});
const machine = describeMachine();
console.log(JSON.stringify(result, null, 2));
const date = new Date(systemClock.now()).toISOString();
const results = new URL('results/', import.meta.url);
mkdirSync(results, { recursive: true });
const file = new URL(`${date.slice(0, 10)}-training-beside-${flags.name}.json`, results);
const { train: _, ...said } = flags;
writeFileSync(file, `${JSON.stringify({ date, machine, flags: said, ...result }, null, 2)}\n`);

/** Runs one round. The job starts while nothing is served, so that its start is not measured. */
async function measureRound(url: string, job: MeasuredJob, load: number): Promise<Round> {
  await job.resume();
  const alone = await speedOf(job, () => sleep(seconds * 1000));
  let served: Served | undefined;
  const beside = await speedOf(job, async () => {
    served = await serveSteadily(url, load, seconds);
  });
  await job.pause();
  const without = await serveSteadily(url, load, seconds);
  return { without, beside: served!, job: { alone, beside }, loadAverage: os.loadavg()[0]! };
}

async function speedOf(job: MeasuredJob, work: () => Promise<void>): Promise<number> {
  const count = job.steps();
  await work();
  const { tokens, seconds: taken } = await count();
  return taken === 0 ? 0 : tokens / taken;
}

function summaryOf(rounds: readonly Round[]) {
  const sides = Object.fromEntries(
    (['without', 'beside'] as const).map((side) => {
      const gaps = rounds.flatMap((round) => round[side].gapsMs).sort((a, b) => a - b);
      const at = (share: number) => gaps[Math.min(gaps.length - 1, Math.floor(share * gaps.length))]!;
      const firsts = rounds.flatMap((round) => round[side].ttftMs);
      const tokensPerSecond = spread(rounds.map((round) => round[side].tokensPerSecond)).median;
      return [side, { tokensPerSecond, p50: at(0.5), p99: at(0.99), worst: at(1), ttft: spread(firsts).median }];
    }),
  );
  const job = {
    alone: spread(rounds.map(({ job }) => job.alone)).median,
    beside: spread(rounds.map(({ job }) => job.beside)).median,
  };
  return {
    ...sides,
    p99Ratio: sides.beside!.p99 / sides.without!.p99,
    p50Ratio: sides.beside!.p50 / sides.without!.p50,
    job,
    jobKeeps: job.beside / job.alone,
    loadAverage: rounds.map(({ loadAverage }) => loadAverage),
  };
}
