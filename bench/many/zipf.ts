// Measures traffic over many adapters by a power law (S-LoRA's generator: adapter = floor(n * u^(1/alpha))), against
// the same traffic over a few that always stay in memory.

import { prng } from '../../src/core/prng.ts';
import type { Setup } from '../peers/step-works.ts';
import { promptOf } from '../prompt-of.ts';
import { type Spread, spread } from '../statistics.ts';
import { ask, nameOf, register, type Size, startOurs, throughput } from './server.ts';

const [requests, atOnce, tokens, few] = [64, 16, 48, 8];
/** Exponent of the power law. 1 would be uniform; at 0.3 a tenth of the adapters gets half of the requests. */
const alpha = 0.3;
/** Memory for a third of the adapters; the others are read from disk. */
const memory = (adapters: number) => `${Math.ceil((adapters * 1.9) / 3)}MiB`;

export async function zipfAgainstFew(
  setup: Setup,
  folder: string,
  { adapters, rounds }: Size,
): Promise<{ readonly ratio: Spread; readonly tokensPerSecond: Spread; readonly diskLoads: number }> {
  const { url, stop } = await startOurs(setup, folder, ['--adapter-memory', memory(adapters)]);
  try {
    await register(url, adapters);
    const load = (count: number, round: number) => {
      const random = prng(round);
      const chosen = Array.from({ length: requests }, () => Math.floor(count * random() ** (1 / alpha)));
      return throughput(requests, atOnce, tokens, (i) =>
        ask(url, { prompt: promptOf(round * requests + i, 32), adapter_id: nameOf(chosen[i]!) }, tokens),
      );
    };
    for (const count of [few, adapters]) await load(count, 1000);
    const before = await diskLoads(url);
    const ratios: number[] = [];
    const speeds: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const results = new Map<number, number>();
      for (const count of round % 2 ? [few, adapters] : [adapters, few]) results.set(count, await load(count, round));
      ratios.push(results.get(adapters)! / results.get(few)!);
      speeds.push(results.get(adapters)!);
    }
    const loads = (await diskLoads(url)) - before;
    return { ratio: spread(ratios), tokensPerSecond: spread(speeds), diskLoads: loads };
  } finally {
    await stop();
  }
}

async function diskLoads(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^lorikeet_adapter_load_seconds_count\{tier="disk"\} (\d+)$/m.exec(text)?.[1] ?? 0);
}
