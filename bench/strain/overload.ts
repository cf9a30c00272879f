// More requests than the engine can answer, with `timeout_ms` and without. Measures how many are answered within the
// deadline, how soon the others are refused, and the memory.

import { setTimeout as wait } from 'node:timers/promises';
import { prng } from '../../src/core/prng.ts';
import { promptOf } from '../prompt-of.ts';
import { quantile } from '../statistics.ts';
import { type Asked, ask, type StrainedServer } from './server.ts';

const promptTokens = 32;
const answerTokens = 32;
const callersOfCapacity = 32;

export type OverloadOptions = {
  readonly times: readonly number[];
  readonly deadlineMs: number;
  readonly seconds: number;
};

/** Requests a second that are answered with enough concurrent callers to fill the engine. */
async function capacityOf(server: StrainedServer, seconds: number): Promise<number> {
  const end = performance.now() + seconds * 1000;
  let done = 0;
  let seed = 0;
  const caller = async () => {
    while (performance.now() < end) {
      await ask(server, server.keys[0], { prompt: promptOf(seed++, promptTokens), max_tokens: answerTokens });
      done++;
    }
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: callersOfCapacity }, caller));
  return (done * 1000) / (performance.now() - began);
}

type Load = {
  readonly perSecond: number;
  readonly deadlineMs: number;
  readonly seconds: number;
  readonly isControlled: boolean;
};

async function overload(server: StrainedServer, { perSecond, deadlineMs, seconds, isControlled }: Load) {
  const random = prng(7);
  const left = new AbortController();
  const open: Promise<Asked>[] = [];
  const memory = [server.memory()];
  const began = performance.now();
  for (let at = 0, seed = 1e6; at < seconds * 1000; at += (-Math.log(1 - random()) * 1000) / perSecond) {
    const early = at - (performance.now() - began);
    if (early > 0) await wait(early);
    const timeout = isControlled ? { timeout_ms: deadlineMs } : {};
    const body = { prompt: promptOf(seed++, promptTokens), max_tokens: answerTokens, ...timeout };
    open.push(ask(server, server.keys[open.length % 2]!, body, left.signal));
    if (open.length % Math.ceil(perSecond * 5) === 0) memory.push(server.memory());
  }
  // Leaves the last requests their whole deadline.
  await wait(deadlineMs);
  memory.push(server.memory());
  left.abort();
  const asked = await Promise.all(open);
  const refusals = asked.filter(({ status }) => status === 503 || status === 429);
  return {
    asked: asked.length,
    inTime: asked.filter(({ status, ms }) => status === 200 && ms <= deadlineMs).length,
    late: asked.filter(({ status, ms }) => status === 200 && ms > deadlineMs).length,
    refused: refusals.length,
    refusalMs: [0.5, 0.99, 1].map((share) =>
      quantile(
        refusals.map(({ ms }) => ms),
        share,
      ),
    ),
    serverMiB: [memory[0]!.server, Math.max(...memory.map(({ server }) => server))],
    engineMiB: [memory[0]!.engine, Math.max(...memory.map(({ engine }) => engine))],
  };
}

export async function measureOverload(server: StrainedServer, { times, deadlineMs, seconds }: OverloadOptions) {
  await capacityOf(server, 3);
  const capacity = await capacityOf(server, 15);
  const work = `${promptTokens} + ${answerTokens} tokens`;
  console.log(`capacity: ${capacity.toFixed(1)} requests/s of ${work}; deadline ${deadlineMs} ms`);
  const rows = [];
  for (const factor of times) {
    for (const isControlled of [true, false]) {
      const row = await overload(server, { perSecond: capacity * factor, deadlineMs, seconds, isControlled });
      rows.push({ times: factor, isControlled, ...row });
      const [p50, p99, most] = row.refusalMs.map((ms) => ms.toFixed(0));
      console.log(
        `${factor} times, ${isControlled ? 'with' : 'without'} timeout_ms: ${row.inTime} of ${row.asked} in time, ` +
          `${row.late} late, ${row.refused} refused (${p50}, ${p99}, ${most} ms); ` +
          `server ${row.serverMiB.join(' to ')} MiB, engine ${row.engineMiB.join(' to ')} MiB`,
      );
      // Lets abandoned requests end before the next measurement.
      await wait(2000);
    }
  }
  return { capacity, deadlineMs, seconds, rows };
}
