// Two real engines on the processor behind one supervisor, over a tiny model: a storm of adapters with a kill -9 in it,
// and a merge on both. A request's answer does not depend on the engine that took it.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { environmentForChildren } from '../../src/config.ts';
import { type AppliedAdapter, mergeKey } from '../../src/core/adapter.ts';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { prng } from '../../src/core/prng.ts';
import { engineProcessStarter } from '../../src/protocol/engine-process.ts';
import type { EngineConfig, MergeEvent, SequenceEnd } from '../../src/protocol/messages.ts';
import { type SupervisedEngine, superviseEngine } from '../../src/protocol/supervisor.ts';
import { defaultSupervisorLimits } from '../../src/protocol/supervisor-options.ts';
import { temporaryFolder, tinyFiles } from '../helpers/tiny-lowered.ts';
import { until } from '../helpers/waits.ts';
import { layerModules, randomAdapter } from './adapters/random-adapters.ts';
import { greedy } from './witnesses.ts';

const config: EngineConfig = {
  model: await tinyFiles('llama'),
  ...{ weightBits: 32, decodeActivations: 'int8', device: 'cpu', ortLibrary: null, threads: 1 },
  ...{ maxSequences: 3, maxContext: 128, prefillChunk: 16, adapterPages: null, mergeBytes: 2 ** 24 },
  // Memory for two or three adapters.
  adapterBytes: 100_000,
  cacheDir: temporaryFolder(),
};

function supervise(context: TestContext): SupervisedEngine {
  const client = superviseEngine({
    startProcess: engineProcessStarter(new URL('../../src/engine/main.ts', import.meta.url), {
      ...environmentForChildren(process.env),
    }),
    configs: [config, config],
    limits: { ...defaultSupervisorLimits, firstDelayMs: 10, waitingRequests: 500, waitingTokens: 100_000 },
    clock: systemClock,
    timers: systemTimers,
    log: { info: () => {}, warn: () => {}, error: () => {} },
  });
  context.after(() => client.close(0));
  return client;
}

type Answer = { readonly tokens: number[]; readonly end: SequenceEnd };

function ask(client: SupervisedEngine, promptTokens: number[], adapters: AppliedAdapter[]): Promise<Answer> {
  const tokens: number[] = [];
  return new Promise((resolve) =>
    client.submit(
      { promptTokens, params: { ...greedy, maxTokens: 12 }, adapters },
      { onToken: ({ token }) => void tokens.push(token), onEnd: (end) => resolve({ tokens, end }) },
    ),
  );
}

test('answers are the same whichever engine gives them, and one may be killed meanwhile', async (context) => {
  const client = supervise(context);
  const { shape, maxSequences, kv, device } = await client.ready;
  assert.deepEqual([maxSequences, device], [6, 'cpu,cpu']);
  assert.deepEqual(kv, { blockTokens: 32, blocks: 2 * 3 * 4 });
  assert.deepEqual(
    client.engines.map(({ name }) => name),
    ['cpu/0', 'cpu/1'],
  );
  const adapters = Array.from({ length: 5 }, (_, i) => [
    { files: randomAdapter(shape, { seed: i + 1, modules: layerModules, r: 8 }).files, scale: 1 },
  ]);
  const asked = [[], ...adapters].flatMap((applied, i) =>
    [5, 9].map((length) => ({ applied, prompt: Array.from({ length }, (_, at) => (at * 31 + i * 7 + length) % 256) })),
  );
  const alone: number[][] = [];
  for (const { prompt, applied } of asked) alone.push((await ask(client, prompt, applied)).tokens);

  const random = prng(1);
  const lost: number[] = [];
  const storm = async (count: number) => {
    const answers = Array.from({ length: count }, async () => {
      const i = Math.floor(random() * asked.length);
      const { tokens, end } = await ask(client, asked[i]!.prompt, asked[i]!.applied);
      if (end.reason === 'error') {
        assert.equal(end.error?.code, 'engine_failed');
        assert.deepEqual(tokens, alone[i]!.slice(0, tokens.length));
        lost.push(i);
      } else assert.deepEqual(tokens, alone[i]);
    });
    await Promise.all(answers);
  };
  await storm(60);
  assert.ok(
    client.engines.every(({ stats }) => stats.steps > 0),
    'one engine had nothing to do',
  );
  assert.deepEqual(lost, []);
  const killed = storm(60);
  const [, victim] = client.engines;
  await until(() => client.engines[1]!.stats.running > 0);
  process.kill(victim!.pid!, 'SIGKILL');
  await until(() => client.engines[1]!.state === 'restarting');
  assert.equal(client.state, 'ready');
  await killed;
  assert.ok(lost.length <= 3, `${lost.length} were lost`);
  await until(() => client.engines[1]!.state === 'ready');
  const stepsBefore = client.engines[1]!.stats.steps;
  lost.length = 0;
  await storm(60);
  assert.ok(client.engines[1]!.stats.steps > stepsBefore, 'the new engine has its part');
  assert.deepEqual([lost.length, client.restarts], [0, 1]);
  assert.equal(client.stats.running + client.stats.waiting, 0);
});

test('a merge is made by both, and stays while one that died makes it again', async (context) => {
  const client = supervise(context);
  const { shape } = await client.ready;
  const events: MergeEvent[] = [];
  client.onMerge((event) => events.push(event));
  const adapters = [{ files: randomAdapter(shape, { seed: 1, modules: layerModules, r: 8 }).files, scale: 1 }];
  const key = mergeKey(adapters);
  const mixed = await ask(client, [5, 6], adapters);
  client.merge({ key, adapters, bits: null, probes: [[1, 2, 3]] });
  await until(() => events.at(-1)?.state === 'merged');
  const everywhere = () => client.engines.every(({ stats }) => stats.merges?.merged === 1);
  const askAll = async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask(client, [5, 6], adapters)));
    for (const { tokens } of answers) assert.deepEqual(tokens, mixed.tokens);
    return answers.map(({ end }) => end.mergedBits);
  };
  assert.ok((await askAll()).includes(32));
  // An engine reports its merge with a step.
  await until(everywhere);
  process.kill(client.engines[0]!.pid!, 'SIGKILL');
  await until(() => client.engines[0]!.state === 'restarting');
  assert.equal(events.at(-1)?.state, 'merged', 'the other has it');
  const [one] = await askAll();
  assert.equal(one, 32);
  await until(() => client.engines[0]!.state === 'ready');
  await askAll();
  client.unmerge(key);
  await until(() => events.at(-1)?.state === 'unmerged');
  assert.ok((await askAll()).every((bits) => bits === null));
});
