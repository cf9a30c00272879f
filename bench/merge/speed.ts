// Times decode steps of merged models against the base's, in one process, in turns over the same positions.

import { systemClock } from '../../src/core/clock.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { mergeModel } from '../../src/engine/merges/merge-model.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import type { MergedModel } from '../../src/engine/runner/merged-model.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { randomAdapter } from '../random-adapter.ts';
import { spread } from '../statistics.ts';
import { adapterPlans } from './adapters.ts';

const batches = [1, 8, 16];
const context = 128;
/** Steps of each model in a round. */
const stepsARound = 16;
export async function mergedSpeed(runtime: Runtime, base: LoweredModel, rounds: number): Promise<object> {
  const decoder = createDecoder(runtime, base, { rows: Math.max(...batches), positions: context + 8 });
  const models = new Map<string, MergedModel | null>([['base', null]]);
  for (const [name, plan] of Object.entries(adapterPlans)) {
    const breath = createBreath(systemClock);
    const adapter = randomAdapter(base.shape, { seed: 1, ...plan });
    models.set(
      name,
      await decoder.addMerged(await mergeModel(runtime, base, adapter, { scale: 1, bits: null, breath })),
    );
  }
  for (let row = 0; row < Math.max(...batches); row++) {
    const tokens = Array.from({ length: context }, (_, i) => 1000 + ((row * 7919 + i * 104_729) % 30_000));
    await decoder.forward(evenBatch({ kind: 'prompt', first: row, pasts: [0], tokens, sampled: [context - 1] }));
  }
  const results: Record<string, object> = {};
  for (const rows of batches) {
    const times = new Map([...models.keys()].map((name) => [name, [] as number[]]));
    const busy = new Map([...models.keys()].map((name) => [name, [] as number[]]));
    for (let round = -1; round < stepsARound * rounds; round++) {
      for (const [name, merged] of round % 2 ? [...models].reverse() : models) {
        const { ms, busyMs } = await step(decoder, rows, merged);
        // The first round makes bindings.
        if (round < 0) continue;
        times.get(name)!.push(ms);
        busy.get(name)!.push(busyMs);
      }
    }
    const base = spread(times.get('base')!);
    for (const name of Object.keys(adapterPlans)) {
      const merged = spread(times.get(name)!);
      const ofProcessor = spread(busy.get('base')!).median / spread(busy.get(name)!).median;
      const ratios = { ratio: base.median / merged.median, ofFastest: base.min / merged.min, ofProcessor };
      results[`${name}, B=${rows}`] = { baseMs: base.median, mergedMs: merged.median, ...ratios };
    }
  }
  await decoder.release();
  return results;
}

/** Times one step: milliseconds by the clock, and of processor time, which other programs hardly change. */
async function step(decoder: Decoder, rows: number, merged: MergedModel | null) {
  const each = Array.from({ length: rows }, (_, row) => row);
  const batch = { first: 0, pasts: each.map(() => context), tokens: each.map(() => 1234), sampled: each };
  const [start, before] = [systemClock.monotonic(), process.cpuUsage()];
  await decoder.forward(evenBatch({ kind: 'answer', ...batch, merged }));
  const { user, system } = process.cpuUsage(before);
  return { ms: systemClock.monotonic() - start, busyMs: (user + system) / 1000 };
}
