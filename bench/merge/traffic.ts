// Sixteen callers, each of which sends its next request when it has its answer. One merged adapter has a share of the
// requests, and the base the rest. Three modes alternate: always mixed, always on the merge, and as the engine chooses.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { type AppliedAdapter, mergeKey } from '../../src/core/adapter.ts';
import { systemClock } from '../../src/core/clock.ts';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { Engine, type EngineOptions } from '../../src/engine/loop/engine.ts';
import { mergeMemory } from '../../src/engine/merges/merge-memory.ts';
import { mergeModel } from '../../src/engine/merges/merge-model.ts';
import { Merges } from '../../src/engine/merges/merges.ts';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import type { MergeEvent } from '../../src/protocol/messages.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { randomAdapter } from '../random-adapter.ts';
import { spread } from '../statistics.ts';
import { adapterPlans } from './adapters.ts';

const callers = 16;
const promptTokens = 32;
const newTokens = 48;
const requests = 32;
const modes = ['never', 'always', 'auto'] as const;
type Mode = (typeof modes)[number];

export type TrafficOptions = { readonly rounds: number; readonly shares: readonly number[] };

export async function mergeTraffic(runtime: Runtime, base: LoweredModel, options: TrafficOptions): Promise<object> {
  const results: Record<string, object> = {};
  for (const [name, plan] of Object.entries(adapterPlans)) {
    const side = await openSide(runtime, base, plan);
    for (const share of options.shares) {
      const speeds: Record<Mode, number[]> = { never: [], always: [], auto: [] };
      const ofProcessor: Record<Mode, number[]> = { never: [], always: [], auto: [] };
      for (let round = -1; round < options.rounds; round++) {
        for (const mode of round % 2 ? modes : modes.toReversed()) {
          const { perSecond, perProcessorSecond } = await side.run(mode, share);
          // The first round makes bindings, and the engine learns costs in it.
          if (round < 0) continue;
          speeds[mode].push(perSecond);
          ofProcessor[mode].push(perProcessorSecond);
        }
      }
      const [bySeconds, byProcessor] = [mediansOf(speeds), mediansOf(ofProcessor)];
      results[`${name}, share ${share}`] = {
        ...bySeconds,
        autoToBest: autoToBest(bySeconds),
        ofProcessor: autoToBest(byProcessor),
      };
    }
    await side.close();
  }
  return results;
}

const mediansOf = (speeds: Record<Mode, number[]>) =>
  Object.fromEntries(modes.map((mode) => [mode, spread(speeds[mode]).median])) as Record<Mode, number>;

const autoToBest = ({ never, always, auto }: Record<Mode, number>) => auto / Math.max(never, always);

type Plan = (typeof adapterPlans)[string];

async function openSide(runtime: Runtime, base: LoweredModel, plan: Plan) {
  const clock = systemClock;
  const positions = promptTokens + newTokens;
  const decoder = createDecoder(runtime, base, { rows: callers, positions, pages: 8 * callers });
  await decoder.prepare(null);
  const resident = randomAdapter(base.shape, { seed: 1, ...plan });
  const adapters: AppliedAdapter[] = [{ files: { digest: resident.key, config: '', weights: '' }, scale: 1 }];
  const ignore = () => {};
  const store = new AdapterStore({
    ...{ bytesMax: 2 ** 32, clock, onChange: ignore },
    read: async () => resident,
    combine: () => Promise.reject(new Error('one adapter is enough here')),
  });
  const events: MergeEvent[] = [];
  const merges = new Merges({
    ...{ decoder, adapters: store, breath: createBreath(clock), clock, bytesMax: 2 ** 32, onChange: ignore },
    arithmetic: {
      bytesOf: (adapter, bits) => mergeMemory(base, adapter, bits, 'host'),
      merge: (adapter, options) => mergeModel(runtime, base, adapter, options),
    },
    emit: (event) => void events.push(event),
  });
  let onStep: EngineOptions['emit'] = ignore;
  const common = { decoder, adapters: store, merges, prefillChunk: 128, clock, freshSeed: () => 1 };
  const engines = new Map(
    modes.map((onMerges) => [onMerges, new Engine({ ...common, onMerges, emit: (event) => onStep(event) })]),
  );
  merges.merge({ key: mergeKey(adapters), adapters, bits: null, probes: [] });
  while (events.at(-1)?.state === 'merging') await nextTurn();
  if (events.at(-1)?.state !== 'merged') throw new Error(JSON.stringify(events.at(-1)));

  /** Counts tokens a second, by the clock and by processor time, which other programs hardly change. */
  const run = async (mode: Mode, share: number) => {
    const engine = engines.get(mode)!;
    let sent = 0;
    let tokens = 0;
    const send = () => {
      const isAdapted = Math.floor((sent + 1) * share) > Math.floor(sent * share);
      engine.add({
        id: sent,
        promptTokens: Array.from({ length: promptTokens }, (_, i) => 1000 + ((sent * 7919 + i * 104_729) % 30_000)),
        // Answers have different lengths, so that rows do not end together.
        params: { ...defaultSamplingParams, temperature: 0, maxTokens: newTokens - ((sent * 7) % 24) },
        adapters: isAdapted ? adapters : [],
      });
      sent++;
    };
    onStep = (event) => {
      tokens += event.tokens.length;
      for (const _ of event.ended) if (sent < requests) send();
    };
    const [start, before] = [clock.monotonic(), process.cpuUsage()];
    while (sent < callers) send();
    while (!engine.idle) {
      await engine.step();
      await nextTurn();
    }
    const { user, system } = process.cpuUsage(before);
    return {
      perSecond: (1000 * tokens) / (clock.monotonic() - start),
      perProcessorSecond: (1_000_000 * tokens) / (user + system),
    };
  };
  return { run, close: () => decoder.release() };
}
