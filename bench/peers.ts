// Measures Lorikeet beside llama.cpp: same GGUF, same threads, runs in turns. Prints a table and writes a result file.
//
//     npm run bench:peers -- [--model <name or gguf>] [--threads 2] [--rounds 5] [--http | --adapters] [--prompt 128]
//         [--requests 16] [--mixed] [--slots 64] [--peer-only]
//
// 256 requests of mixed length against llama-server with 64 slots, within five minutes on two cores:
//
//     npm run bench:peers -- --http --requests 256 --mixed --slots 64 --prompt 32 --rounds 1

import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { describeMachine } from './machine.ts';
import { checkPeerAdapters } from './peers/adapter-check.ts';
import {
  loadLlamaServerWithAdapters,
  loadOursWithAdapters,
  makeAdapters,
  writeGgufAdapters,
} from './peers/adapter-works.ts';
import { loadLlamaServer, loadOf, loadOurs, withDataFolder } from './peers/http-works.ts';
import { findOrBuildLlamaCpp, type LlamaCpp } from './peers/llama-cpp.ts';
import {
  llamaCppFlags,
  measureLlamaCpp,
  measureOurs,
  type Sample,
  type Setup,
  workName,
  works,
} from './peers/step-works.ts';
import { type Spread, showSpread, spread } from './statistics.ts';

type Side = { readonly tokensPerSecond: Spread; readonly peakRssBytes: number };

type Comparison = {
  readonly work: string;
  readonly lorikeet: Side | null;
  readonly llamaCpp: Side;
  /** Lorikeet's speed over llama.cpp's, within each round: what slows the machine for a while slows both. */
  readonly ratio: Spread | null;
};

type Measure = (round: number) => Promise<Sample>;

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    rounds: { type: 'string', default: '5' },
    prompt: { type: 'string', default: '128' },
    requests: { type: 'string', default: '16' },
    mixed: { type: 'boolean', default: false },
    slots: { type: 'string' },
    http: { type: 'boolean', default: false },
    adapters: { type: 'boolean', default: false },
    'peer-only': { type: 'boolean', default: false },
  },
});
const rounds = Number(flags.rounds);
const setup: Setup = {
  model: await modelFile(flags.model),
  threads: Number(flags.threads),
  promptTokens: Number(flags.prompt),
  requests: Number(flags.requests),
  isMixed: flags.mixed,
  ...(flags.slots === undefined ? {} : { slots: Number(flags.slots) }),
};
const llama = findOrBuildLlamaCpp();

const kind = flags.adapters ? 'adapters' : flags.http ? 'http' : 'steps';
const compareAll = { steps: compareSteps, http: compareServers, adapters: compareAdapters }[kind];
report(await compareAll(llama));

async function compareSteps(llama: LlamaCpp): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  for (const work of works) {
    const ours = () => measureOurs(work, setup);
    comparisons.push(await compare(workName(work), ours, () => measureLlamaCpp(work, setup, llama)));
  }
  return comparisons;
}

function compareServers(llama: LlamaCpp): Promise<Comparison[]> {
  const { requests, promptTokens, newTokens } = loadOf(setup);
  const lengths = flags.mixed ? ' of 1/4 to 7/4' : '';
  const name = `HTTP, ${requests} requests, ${promptTokens} + ${newTokens} tokens${lengths}`;
  return withDataFolder(async (folder) => [
    await compare(
      name,
      (round) => loadOurs(setup, folder, round),
      (round) => loadLlamaServer(setup, llama, round),
    ),
  ]);
}

/** Compares with every request on a different adapter. */
function compareAdapters(llama: LlamaCpp): Promise<Comparison[]> {
  const { requests, promptTokens, newTokens } = loadOf(setup);
  const name = `HTTP, ${requests} requests on ${requests} adapters, ${promptTokens} + ${newTokens} tokens`;
  return withDataFolder(async (folder) => {
    console.error(await checkPeerAdapters(setup, llama, join(folder, 'checked')));
    const adapters = makeAdapters(requests);
    const files = writeGgufAdapters(adapters, join(folder, 'gguf'));
    return [
      await compare(
        name,
        (round) => loadOursWithAdapters(setup, adapters, folder, round),
        (round) => loadLlamaServerWithAdapters(setup, llama, files, round),
      ),
    ];
  });
}

/** Runs both sides in turns. Each is first in every other round. */
async function compare(work: string, ours: Measure, peers: Measure): Promise<Comparison> {
  const [lorikeet, llamaCpp]: [Sample[], Sample[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const turns = [
      async () => flags['peer-only'] || lorikeet.push(await ours(round)),
      async () => llamaCpp.push(await peers(round)),
    ];
    for (const turn of round % 2 ? turns.toReversed() : turns) await turn();
  }
  const ratios = lorikeet.map((sample, round) => sample.tokensPerSecond / llamaCpp[round]!.tokensPerSecond);
  const comparison = {
    work,
    lorikeet: lorikeet.length ? side(lorikeet) : null,
    llamaCpp: side(llamaCpp),
    ratio: ratios.length ? spread(ratios) : null,
  };
  console.error(line(comparison));
  return comparison;
}

function side(samples: readonly Sample[]): Side {
  return {
    tokensPerSecond: spread(samples.map((sample) => sample.tokensPerSecond)),
    peakRssBytes: Math.max(...samples.map((sample) => sample.peakRssBytes)),
  };
}

function report(comparisons: readonly Comparison[]): void {
  const machine = describeMachine();
  const date = new Date(systemClock.now()).toISOString();
  console.log(`\n${machine.cpu}, ${setup.threads} threads, commit ${machine.commit}\n`);
  console.log('| work | Lorikeet tokens/s | llama.cpp tokens/s | ratio (min to max) | peak memory, MiB |');
  console.log('| --- | --- | --- | --- | --- |');
  for (const comparison of comparisons) console.log(line(comparison));
  const peer = { ...{ version: llama.version }, flags: llamaCppFlags.join(' ') };
  const result = {
    date,
    machine,
    model: setup.model.split('/').at(-1),
    threads: setup.threads,
    rounds,
    peer,
    comparisons,
  };
  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const file = new URL(
    `${date.slice(0, 10)}-peers${kind === 'steps' ? '' : `-${kind}-${setup.requests}-${setup.promptTokens}`}.json`,
    folder,
  );
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  console.log(`\nwritten to ${file.pathname}`);
}

function line({ work, lorikeet, llamaCpp, ratio }: Comparison): string {
  const speed = (side: Side | null) => side?.tokensPerSecond.median.toFixed(1) ?? '-';
  const memory = (side: Side | null) => (side ? (side.peakRssBytes / 2 ** 20).toFixed(0) : '-');
  const times = ratio ? showSpread(ratio) : '-';
  return `| ${work} | ${speed(lorikeet)} | ${speed(llamaCpp)} | ${times} | ${memory(lorikeet)} / ${memory(llamaCpp)} |`;
}

async function modelFile(spec: string | undefined): Promise<string> {
  const { config } = loadConfig(spec === undefined ? {} : { model: spec });
  const { kind, weights } = await resolveModel(config.model, { ...modelSources(config), log: console.error });
  if (kind !== 'gguf') throw new Error(`llama.cpp needs a GGUF file, and ${config.model} is none`);
  return weights[0]!;
}
