// Measures an engine's own process whose rows decode all the time: its memory with the base, with a merge and
// afterwards, and the longest waits for a token. Each row's answer is followed by the next request, so that contexts
// are equally long in all phases.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { environmentForChildren } from '../../src/config.ts';
import { mergeKey } from '../../src/core/adapter.ts';
import type { ModelFiles, ModelShape } from '../../src/core/base-model.ts';
import { systemClock } from '../../src/core/clock.ts';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import { engineProcessStarter } from '../../src/protocol/engine-process.ts';
import type { EngineConfig, EngineEvent, MergeEvent } from '../../src/protocol/messages.ts';
import { mallocEnvironment } from '../../src/runtime/malloc.ts';
import { randomAdapter } from '../../test/engine/adapters/random-adapters.ts';
import { adapterPlans } from './adapters.ts';

const rows = 8;
const positions = 256;
const newTokens = 192;
const quietMs = 10_000;

export type LifeSetup = {
  readonly files: ModelFiles;
  readonly cacheDir: string;
  readonly threads: number;
  readonly shape: ModelShape;
};

export async function mergeLife({ files, cacheDir, threads, shape }: LifeSetup): Promise<object> {
  const results: Record<string, object> = {};
  const gapTable: Record<string, Gaps> = {};
  for (const [name, plan] of Object.entries(adapterPlans)) {
    const engine = startEngine({
      model: files,
      ...{ weightBits: null, decodeActivations: 'int8', device: 'cpu', ortLibrary: null, threads, cacheDir },
      ...{ maxSequences: rows, maxContext: positions, prefillChunk: 128, adapterBytes: 2 ** 30, adapterPages: null },
      mergeBytes: 2 ** 30,
    });
    await engine.until((event) => event.type === 'ready');
    for (let row = 0; row < rows; row++) {
      engine.ask();
      // The pause keeps rows from all ending together.
      await sleep(quietMs / rows / 2);
    }
    // Graphs for adapters are made after the start.
    await sleep(quietMs);
    const baseRss = engine.rssMiB();
    const before = await engine.gapsWhile(() => sleep(quietMs));
    const adapters = [{ files: randomAdapter(shape, { seed: 1, alpha: 0.02 * plan.r, ...plan }).files, scale: 1 }];
    const key = mergeKey(adapters);
    const probes = Array.from({ length: 4 }, (_, i) => Array.from({ length: 32 }, (_, j) => 1000 + i * 997 + j * 31));
    engine.send({ type: 'merge', merge: { key, adapters, bits: null, probes } });
    let merged: MergeEvent | undefined;
    const during = await engine.gapsWhile(async () => {
      merged = await engine.untilMerge(({ state }) => state === 'merged' || state === 'failed');
    });
    if (merged?.state !== 'merged') throw new Error(JSON.stringify(merged));
    const mergedRss = engine.rssMiB();
    engine.send({ type: 'unmerge', key });
    await engine.untilMerge(({ state }) => state === 'unmerged');
    const after = await engine.gapsWhile(() => sleep(quietMs));
    results[name] = {
      ...{ mergeMs: merged.ms, accountedMiB: merged.bytes / 2 ** 20, topAgreement: merged.quality!.top1Agreement },
      ...{ baseRss, mergedRss, unmergedRss: engine.rssMiB() },
    };
    for (const [when, gaps] of Object.entries({ before, during, after })) gapTable[`${name}, ${when}`] = gaps;
    engine.kill();
  }
  console.log('milliseconds between steps:');
  console.table(gapTable);
  return { ...results, gaps: gapTable };
}

/** Milliseconds between steps. */
type Gaps = { readonly median: number; readonly p99: number; readonly worst: number };

function startEngine(config: EngineConfig) {
  const waiters = new Set<(event: EngineEvent) => void>();
  let asked = 0;
  let stepTimes: number[] = [];
  const start = engineProcessStarter(new URL('../../src/engine/main.ts', import.meta.url), {
    ...mallocEnvironment,
    ...environmentForChildren(),
  });
  const process = start({
    onEvent(event) {
      if (event.type === 'step') {
        stepTimes.push(systemClock.monotonic());
        for (const _ of event.ended) ask();
      }
      for (const waiter of waiters) waiter(event);
    },
    onExit: () => {},
  });
  process.send({ type: 'start', config });
  const ask = () => {
    const params = { ...defaultSamplingParams, temperature: 0, maxTokens: newTokens };
    const id = asked++;
    process.send({ type: 'submit', sequence: { id, promptTokens: [1, 2, 3, 1000 + id], params, adapters: [] } });
  };
  const until = (isIt: (event: EngineEvent) => boolean) =>
    new Promise<EngineEvent>((resolve) => {
      const waiter = (event: EngineEvent) => {
        if (!isIt(event)) return;
        waiters.delete(waiter);
        resolve(event);
      };
      waiters.add(waiter);
    });
  return {
    ...{ send: process.send, kill: process.kill, until, ask },
    async untilMerge(isIt: (event: MergeEvent) => boolean): Promise<MergeEvent> {
      const event = await until((event) => event.type === 'merge' && isIt(event.merge));
      return (event as Extract<EngineEvent, { type: 'merge' }>).merge;
    },
    rssMiB: () =>
      Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${process.pid}/status`, 'utf8'))![1]) / 1024),
    async gapsWhile(work: () => Promise<unknown>): Promise<Gaps> {
      stepTimes = [];
      await work();
      const gaps = stepTimes.slice(1).map((time, i) => time - stepTimes[i]!);
      gaps.sort((a, b) => a - b);
      const at = (share: number) => gaps[Math.floor(gaps.length * share)]!;
      return { median: at(0.5), p99: at(0.99), worst: gaps.at(-1)! };
    },
  };
}
