// Measures whether a server with many registered adapters serves the base as fast as one without.

import { join } from 'node:path';
import type { Setup } from '../peers/step-works.ts';
import { promptOf } from '../prompt-of.ts';
import { type Spread, spread } from '../statistics.ts';
import { ask, register, type Size, startOurs, throughput } from './server.ts';

const [requests, atOnce, tokens] = [32, 16, 48];

export async function registeredAgainstNone(
  setup: Setup,
  folder: string,
  { adapters, rounds }: Size,
): Promise<{ readonly ratio: Spread; readonly tokensPerSecond: Spread }> {
  const full = await startOurs(setup, join(folder, 'full'));
  const empty = await startOurs(setup, join(folder, 'empty'));
  try {
    await register(full.url, adapters);
    const load = (url: string, round: number) =>
      throughput(requests, atOnce, tokens, (i) => ask(url, { prompt: promptOf(round * requests + i, 32) }, tokens));
    for (const { url } of [full, empty]) await load(url, rounds);
    const ratios: number[] = [];
    const speeds: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const sides = round % 2 ? [empty, full] : [full, empty];
      const results = new Map<object, number>();
      for (const side of sides) results.set(side, await load(side.url, round));
      ratios.push(results.get(full)! / results.get(empty)!);
      speeds.push(results.get(full)!);
    }
    return { ratio: spread(ratios), tokensPerSecond: spread(speeds) };
  } finally {
    await full.stop();
    await empty.stop();
  }
}
