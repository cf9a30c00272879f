// One tenant floods the engine, and another one sends a request now and then. Measures the time to first token of the
// second tenant, alone and beside the flood, with fair sharing and without (both tenants are one flow: first come,
// first served), on the same requests; and what sharing costs in throughput.
//
// The engine can do a certain number of visits a second, and half of that is the second tenant's fair share. Visits
// come at three quarters of that share: at the whole share, with arrivals by chance above it as often as below, no
// queue that gives nobody more than a share would be stable.
//
//     npm run bench:fairness -- [--flood 200] [--answer 64] [--visits 40] [--share 0.75] [--rounds 3]

import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { prng } from '../src/core/prng.ts';
import { defaultSamplingParams } from '../src/core/sampling-params.ts';
import type { Share } from '../src/core/share.ts';
import { startEngine } from '../src/engine/start-engine.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import type { EngineEvent } from '../src/protocol/messages.ts';
import { describeMachine } from './machine.ts';
import { promptOf } from './prompt-of.ts';
import { quantile, showSpread, spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    slots: { type: 'string', default: '16' },
    flood: { type: 'string', default: '200' },
    answer: { type: 'string', default: '64' },
    visits: { type: 'string', default: '40' },
    share: { type: 'string', default: '0.75' },
    rounds: { type: 'string', default: '3' },
  },
});

type Request = { readonly atMs: number; readonly flow: number; readonly prompt: number; readonly answer: number };

const { config } = loadConfig(flags.model === undefined ? {} : { model: flags.model });
const model = await resolveModel(config.model, { ...modelSources(config), log: console.error });
let onStep: (event: Extract<EngineEvent, { type: 'step' }>) => void = () => {};
const { engine, info } = await startEngine(
  {
    ...{ model, weightBits: null, decodeActivations: 'int8', device: 'cpu', ortLibrary: null, threads: config.threads },
    ...{ maxSequences: Number(flags.slots), maxContext: 512, prefillChunk: config.prefillChunk },
    ...{ adapterBytes: 0, adapterPages: null, cacheDir: `${config.dataDir}/weights` },
    // A server's default: what a sequence computed before it was preempted stays in the prefix cache.
    prefixBytes: 256 * 1024 * 1024,
  },
  systemClock,
  { emit: (event) => event.type === 'step' && onStep(event), onChange() {} },
);

const flood: Request[] = Array.from({ length: Number(flags.flood) }, () => {
  return { atMs: 0, flow: 1, prompt: 16, answer: Number(flags.answer) };
});
/** Arrivals of a Poisson process, the same in every run. */
function visitsAt(perSecond: number, count: number): Request[] {
  const random = prng(1);
  let atMs = 500;
  return Array.from({ length: count }, () => {
    atMs += (-Math.log(1 - random()) * 1000) / perSecond;
    return { atMs, flow: 2, prompt: 64, answer: 32 };
  });
}

type Ran = { readonly firstMs: readonly number[]; readonly tokensPerSecond: number };
let nextId = 0;

/** @param shareOf gives the flow of a request; nothing else differs between two runs */
async function run(requests: readonly Request[], shareOf: (request: Request) => Share): Promise<Ran> {
  const coming = [...requests].sort((a, b) => a.atMs - b.atMs);
  const open = new Map<number, { request: Request; addedAt: number; isFirst: boolean }>();
  const firstMs: number[] = [];
  let tokens = 0;
  const start = systemClock.monotonic();
  onStep = (event) => {
    const now = systemClock.monotonic();
    for (const { id } of event.tokens) {
      const { request, addedAt, isFirst } = open.get(id)!;
      tokens++;
      if (!isFirst) continue;
      open.set(id, { request, addedAt, isFirst: false });
      tokens += request.prompt;
      if (request.flow === 2) firstMs.push(now - addedAt);
    }
    for (const { id } of event.ended) open.delete(id);
  };
  while (coming.length > 0 || !engine.idle) {
    const now = systemClock.monotonic();
    while (coming.length > 0 && coming[0]!.atMs <= now - start) {
      const request = coming.shift()!;
      const id = nextId++;
      // Waiting starts when the request should have come: a caller does not know that a step is under way.
      open.set(id, { request, addedAt: start + request.atMs, isFirst: true });
      engine.add({
        ...{ id, adapters: [], share: shareOf(request) },
        promptTokens: promptOf(id, request.prompt),
        params: { ...defaultSamplingParams, temperature: 0, maxTokens: request.answer },
      });
    }
    if (!engine.idle) await engine.step();
    await nextTurn();
  }
  return { firstMs, tokensPerSecond: (1000 * tokens) / (systemClock.monotonic() - start) };
}

const own = ({ flow }: Request): Share => ({ flow, weight: 1, priority: 1 });
const common = (): Share => ({ flow: 0, weight: 1, priority: 1 });
await run(flood.slice(0, 16), own);
// With all requests at once the engine shows its highest throughput.
const trial = visitsAt(1e6, 32);
const perSecond = (await run(trial, own)).tokensPerSecond / (64 + 32) / 2;
const visits = visitsAt(perSecond * Number(flags.share), Number(flags.visits));
console.log(`a fair share of the engine: ${perSecond.toFixed(2)} visits a second, of which ${flags.share} come`);
/** Ratios of each round. */
const ratios = { shared: [] as number[], firstCome: [] as number[], throughput: [] as number[] };
for (let round = 0; round < Number(flags.rounds); round++) {
  const alone = await run(visits, own);
  const shared = await run([...flood, ...visits], own);
  const firstCome = await run([...flood, ...visits], common);
  const show = (name: string, { firstMs, tokensPerSecond }: Ran) => {
    const [p50, p90] = [quantile(firstMs, 0.5), quantile(firstMs, 0.9)];
    const speed = `${tokensPerSecond.toFixed(0)} tokens/s read and generated`;
    console.log(`  ${name.padEnd(36)} first token p50 ${p50.toFixed(0)} ms, p90 ${p90.toFixed(0)} ms; ${speed}`);
    return p90;
  };
  console.log(
    `round ${round + 1}: ${flood.length} x ${flags.answer} tokens of one tenant, ${visits.length} visits of another`,
  );
  const [aloneP90, sharedP90] = [show('alone', alone), show('beside the flood, shared', shared)];
  const firstComeP90 = show('beside the flood, first come', firstCome);
  ratios.shared.push(sharedP90 / aloneP90);
  ratios.firstCome.push(firstComeP90 / aloneP90);
  ratios.throughput.push(shared.tokensPerSecond / firstCome.tokensPerSecond);
}
const described = (values: readonly number[]) => showSpread(spread(values));
console.log(
  `p90 beside the flood / alone: ${described(ratios.shared)} shared, ${described(ratios.firstCome)} first come`,
);
console.log(`throughput shared / first come: ${described(ratios.throughput)}`);
const machine = describeMachine();
console.log(`${machine.cpu}, ${info.threads} threads, ${flags.slots} slots, commit ${machine.commit}`);
process.exit(0);
