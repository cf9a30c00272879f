// Measures how long it takes until a killed engine answers again, beside the time for loading its weights.

import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Config } from '../../src/config.ts';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { systemClock } from '../../src/core/clock.ts';
import { startEngine } from '../../src/engine/start-engine.ts';
import { quantile } from '../statistics.ts';
import { ask, type StrainedServer } from './server.ts';

/** Age in milliseconds at which an engine that dies is restarted without a longer pause. */
const stableMs = 6000;

export async function measureRecovery(server: StrainedServer, rounds: number) {
  const recoveries: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await wait(stableMs);
    const pid = server.enginePid();
    if (pid === null) throw new Error('there is no engine');
    const killed = performance.now();
    process.kill(pid, 'SIGKILL');
    while (server.enginePid() === pid) await wait(2);
    const { status } = await untilAnswered(server);
    recoveries.push(performance.now() - killed);
    if (status !== 200) throw new Error(`answered ${status}`);
  }
  const ms = quantile(recoveries, 0.5);
  console.log(`a killed engine answers again after ${recoveries.map((one) => one.toFixed(0)).join(', ')} ms`);
  return { recoveries, ms };
}

async function untilAnswered(server: StrainedServer) {
  for (;;) {
    const answer = await ask(server, server.keys[0], { prompt: [1000, 1001], max_tokens: 1 });
    if (answer.status !== 503) return answer;
    await wait(5);
  }
}

type Engine = Pick<Config, 'threads' | 'prefillChunk' | 'dataDir'> & { readonly model: ModelFiles };

/** Times loading in this process, with weights that are lowered and cached. */
export async function measureLoad({ model, threads, prefillChunk, dataDir }: Engine, rounds: number) {
  const loads: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const { info } = await startEngine(
      {
        ...{ model, weightBits: null, decodeActivations: 'int8', device: 'cpu', ortLibrary: null, threads },
        ...{ maxSequences: 16, maxContext: 2048, prefillChunk, adapterBytes: 0, adapterPages: null },
        cacheDir: join(dataDir, 'weights'),
      },
      systemClock,
      { emit() {}, onChange() {} },
    );
    // The first start may have had to lower the weights.
    if (round > 0) loads.push(info.loadMs);
  }
  return { loads, ms: quantile(loads, 0.5) };
}
