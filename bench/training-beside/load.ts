// Sends requests at a steady rate, as people do, whether or not earlier ones are answered; and finds a server's highest
// throughput.

import { setTimeout as sleep } from 'node:timers/promises';
import { ask, throughput } from '../many/server.ts';
import { promptOf } from '../prompt-of.ts';

const [promptTokens, newTokens] = [32, 48];

export type Served = {
  readonly tokensPerSecond: number;
  readonly gapsMs: readonly number[];
  readonly ttftMs: readonly number[];
};

let seed = 0;
const request = (url: string) => ask(url, { prompt: promptOf(seed++, promptTokens) }, newTokens);

/** Tokens a second with every slot taken. A request before warms the server up. */
export async function saturation(url: string, slots: number): Promise<number> {
  await ask(url, { prompt: promptOf(seed++, promptTokens) }, 2);
  return await throughput(slots, slots, newTokens, () => request(url));
}

/** Sends requests at equal intervals, which ask for `tokensPerSecond` in all. */
export async function serveSteadily(url: string, tokensPerSecond: number, seconds: number): Promise<Served> {
  const everyMs = (1000 * newTokens) / tokensPerSecond;
  const asked: ReturnType<typeof ask>[] = [];
  const began = performance.now();
  for (let count = 0; count * everyMs < seconds * 1000; count++) {
    await sleep(Math.max(0, began + count * everyMs - performance.now()));
    asked.push(request(url));
  }
  const answers = await Promise.all(asked);
  return {
    tokensPerSecond: (1000 * newTokens * answers.length) / (performance.now() - began),
    gapsMs: answers.flatMap(({ gapsMs }) => gapsMs),
    ttftMs: answers.map(({ ttftMs }) => ttftMs),
  };
}
