// Decode steps of merged models against the base's, in one process, in turns over the same positions.

import { systemClock } from '../../src/core/clock.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { createDecoder, type Decoder } from '../../src/engine/decoder.ts';
import { mergeModel } from '../../src/engine/merges/merge-model.ts';
import type { MergedModel } from '../../src/engine/merges/merged-model.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { randomAdapter } from '../random-adapter.ts';
import { spread } from '../statistics.ts';
import { adapterPlans } from './adapters.ts';

const batches = [1, 8, 16];
const context = 128;
/** Steps of each model in a round of a turn; their median counts. */
const stepsARound = 20;

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
    await decoder.forward({ phase: 'prefill', first: row, pasts: [0], tokens, sampled: [context - 1] });
  }
  const results: Record<string, object> = {};
  for (const rows of batches) {
    const times = new Map([...models.keys()].map((name) => [name, [] as number[]]));
    for (let round = -1; round < rounds; round++) {
      for (const [name, merged] of round % 2 ? [...models].reverse() : models) {
        const ms = await medianStep(decoder, rows, merged);
        // The first round ties bindings.
        if (round >= 0) times.get(name)!.push(ms);
      }
    }
    const baseMs = times.get('base')!;
    for (const name of Object.keys(adapterPlans)) {
      const ratio = spread(times.get(name)!.map((ms, round) => baseMs[round]! / ms));
      const mergedMs = spread(times.get(name)!).median;
      results[`${name}, B=${rows}`] = { baseMs: spread(baseMs).median, mergedMs, ratio: ratio.median, ...ends(ratio) };
    }
  }
  await decoder.release();
  return results;
}

const ends = ({ min, max }: { min: number; max: number }) => ({ ratioMin: min, ratioMax: max });

async function medianStep(decoder: Decoder, rows: number, merged: MergedModel | null): Promise<number> {
  const each = Array.from({ length: rows }, (_, row) => row);
  const batch = { first: 0, pasts: each.map(() => context), tokens: each.map(() => 1234), sampled: each };
  const times: number[] = [];
  for (let step = 0; step < stepsARound; step++) {
    const start = systemClock.monotonic();
    await decoder.forward({ phase: 'decode', ...batch, merged });
    times.push(systemClock.monotonic() - start);
  }
  return spread(times).median;
}
