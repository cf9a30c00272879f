// Measures the first token of an adapter that is only on disk, against one in memory, while other requests decode; and
// the effect on those.

import type { Setup } from '../peers/step-works.ts';
import { promptOf } from '../prompt-of.ts';
import { quantile, spread } from '../statistics.ts';
import { ask, nameOf, register, type Size, startOurs } from './server.ts';

const others = 4;
const starts = 24;
const everyMs = 400;

export async function coldStarts(setup: Setup, folder: string, { rounds }: Size): Promise<object> {
  const { url, stop } = await startOurs(setup, folder);
  try {
    const cold = starts * rounds;
    await register(url, cold + 1);
    const warmName = nameOf(cold);
    const first = (name: string, seed: number) => ask(url, { prompt: promptOf(seed, 64), adapter_id: name }, 2);
    await first(warmName, 1);
    const sides: Record<'cold' | 'warm', { ttftMs: number[]; gapsMs: number[] }> = {
      cold: { ttftMs: [], gapsMs: [] },
      warm: { ttftMs: [], gapsMs: [] },
    };
    for (let round = 0; round < rounds; round++) {
      for (const side of round % 2 ? (['warm', 'cold'] as const) : (['cold', 'warm'] as const)) {
        // Enough tokens to decode for as long as the starts take.
        const decoding = Array.from({ length: others }, (_, i) => ask(url, { prompt: promptOf(i, 32) }, 600));
        await pause(everyMs);
        for (let i = 0; i < starts; i++) {
          const name = side === 'cold' ? nameOf(round * starts + i) : warmName;
          sides[side].ttftMs.push((await first(name, 100 + i)).ttftMs);
        }
        for (const { gapsMs } of await Promise.all(decoding)) sides[side].gapsMs.push(...gapsMs);
      }
    }
    const ttft = { cold: spread(sides.cold.ttftMs), warm: spread(sides.warm.ttftMs) };
    const gap = { cold: quantile(sides.cold.gapsMs, 0.99), warm: quantile(sides.warm.gapsMs, 0.99) };
    return {
      ttftMs: { cold: ttft.cold.median, warm: ttft.warm.median },
      ttftRatio: ttft.cold.median / ttft.warm.median,
      othersGapP99Ms: gap,
      othersGapRatio: gap.cold / gap.warm,
    };
  } finally {
    await stop();
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
