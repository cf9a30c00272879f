// The real engine in its own process under the supervisor, over a tiny model.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { environmentForChildren } from '../../src/config.ts';
import { type AppliedAdapter, mergeKey } from '../../src/core/adapter.ts';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import type { SamplingParams } from '../../src/core/sampling-params.ts';
import { engineProcessStarter } from '../../src/protocol/engine-process.ts';
import type { EngineConfig, MergeEvent, SequenceEnd } from '../../src/protocol/messages.ts';
import { type SupervisedEngine, superviseEngine } from '../../src/protocol/supervisor.ts';
import { defaultSupervisorLimits } from '../../src/protocol/supervisor-options.ts';
import { testCudaDir, testDeviceName } from '../helpers/test-runtime.ts';
import { temporaryFolder, tinyFiles } from '../helpers/tiny-lowered.ts';
import { tinyReferences } from '../helpers/tiny-models.ts';
import { layerModules, randomAdapter } from './adapters/random-adapters.ts';
import { greedy } from './witnesses.ts';

const entry = new URL('../../src/engine/main.ts', import.meta.url);
const cacheDir = temporaryFolder();
const tinyConfig: EngineConfig = {
  model: await tinyFiles('llama'),
  weightBits: 32,
  decodeActivations: 'int8',
  device: testDeviceName,
  ortLibrary: null,
  cudaDir: testCudaDir,
  threads: 1,
  maxSequences: 2,
  maxContext: 512,
  prefillChunk: 32,
  adapterBytes: 2 ** 20,
  adapterPages: null,
  cacheDir,
};

function supervise(context: TestContext, config: Partial<EngineConfig> = {}): SupervisedEngine {
  const client = superviseEngine({
    startProcess: engineProcessStarter(entry, environmentForChildren(process.env)),
    configs: [{ ...tinyConfig, ...config }],
    limits: { ...defaultSupervisorLimits, firstDelayMs: 10, waitingRequests: 8, waitingTokens: 1000 },
    clock: systemClock,
    timers: systemTimers,
    log: { info: () => {}, warn: () => {}, error: () => {} },
  });
  context.after(() => client.close(0));
  return client;
}

function generate(
  client: SupervisedEngine,
  promptTokens: readonly number[],
  params: Partial<SamplingParams>,
  adapters: readonly AppliedAdapter[] = [],
) {
  const tokens: number[] = [];
  const { promise: end, resolve } = Promise.withResolvers<SequenceEnd>();
  const { promise: firstToken, resolve: began } = Promise.withResolvers<void>();
  const onToken = ({ token }: { token: number }) => {
    began();
    tokens.push(token);
  };
  const abort = client.submit(
    { promptTokens, params: { ...greedy, ...params }, adapters },
    { onToken, onEnd: resolve },
  );
  return { tokens, end, firstToken, abort };
}

const { prompts, vocabulary } = tinyReferences('llama');
const endless = { maxTokens: 10_000 };

test('it says what it is, generates the reference’s tokens for all at once, and aborts', async (context) => {
  const client = supervise(context);
  const info = await client.ready;
  const { digest, shape, maxContext, maxSequences, threads, device, weightBits } = info;
  assert.deepEqual(
    {
      digest,
      architecture: shape.architecture,
      vocabulary: shape.vocabulary,
      maxContext,
      maxSequences,
      threads,
      device,
      weightBits,
    },
    {
      digest: tinyConfig.model.digest,
      architecture: 'llama',
      vocabulary,
      maxContext: 512,
      maxSequences: 2,
      threads: 1,
      device: tinyConfig.device,
      weightBits: 32,
    },
  );
  assert.ok(info.loadMs > 0);
  const runs = prompts.map((prompt) => generate(client, prompt.tokens, { maxTokens: prompt.greedy.length }));
  for (const [i, run] of runs.entries()) {
    assert.equal((await run.end).reason, 'length');
    assert.deepEqual(run.tokens, prompts[i]!.greedy);
  }
  const long = generate(client, [5], endless);
  await long.firstToken;
  long.abort();
  const end = await long.end;
  assert.deepEqual([end.reason, end.completionTokens], ['abort', long.tokens.length]);
});

test('kill -9: what ran fails by its code, what waited is served by the next process', async (context) => {
  const client = supervise(context);
  await client.ready;
  const pid = client.engines[0]!.pid!;
  const running = [generate(client, [5], endless), generate(client, [6], endless)];
  await Promise.all(running.map(({ firstToken }) => firstToken));
  const [prompt] = prompts;
  const waiting = generate(client, prompt!.tokens, { maxTokens: prompt!.greedy.length });
  process.kill(pid, 'SIGKILL');
  for (const { end } of running) assert.equal((await end).error?.code, 'engine_failed');
  assert.equal((await waiting.end).reason, 'length');
  assert.deepEqual(waiting.tokens, prompt!.greedy);
  assert.notEqual(client.engines[0]!.pid, pid);
  assert.equal(client.restarts, 1);
  assert.equal(client.info!.weightsCached, true);
});

test('a start that cannot succeed says why, by its code', async (context) => {
  const model = tinyConfig.model;
  const cases: readonly [Partial<EngineConfig>, string, RegExp][] = [
    [{ device: 'cuda:99' }, 'device_unavailable', /cuda/],
    [{ device: 'gpu' }, 'invalid_config', /gpu/],
    [{ maxContext: 513 }, 'invalid_config', /513.*512/],
    [{ ortLibrary: '/nowhere/libonnxruntime.so' }, 'runtime_unavailable', /\/nowhere\/libonnxruntime\.so/],
    [
      { model: { ...model, digest: 'sha256:11', weights: ['/nowhere/model.safetensors'] } },
      'model_unavailable',
      /nowhere/,
    ],
  ];
  for (const [config, code, message] of cases) {
    await assert.rejects(supervise(context, config).ready, (error) => {
      assert.ok(error instanceof LorikeetError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  }
});

test('an idle engine waits without work: its steps do not count on', async (context) => {
  const client = supervise(context);
  await client.ready;
  await generate(client, [5], { maxTokens: 3 }).end;
  const { steps } = client.stats;
  await sleep(50);
  assert.equal(client.stats.steps, steps);
  assert.equal(client.stats.running, 0);
});

test('an adapter is merged, served, merged again after a kill -9, and unmerged', async (context) => {
  const client = supervise(context, { mergeBytes: 2 ** 24 });
  const { shape } = await client.ready;
  const events: MergeEvent[] = [];
  client.onMerge((event) => events.push(event));
  const until = async (state: MergeEvent['state'], count = 1) => {
    const deadline = systemClock.monotonic() + 60_000;
    while (events.filter((event) => event.state === state).length < count) {
      assert.ok(systemClock.monotonic() < deadline, JSON.stringify(events.at(-1)));
      await sleep(5);
    }
    return events.findLast((event) => event.state === state)!;
  };
  const adapters = [{ files: randomAdapter(shape, { seed: 1, modules: layerModules, r: 8 }).files, scale: 1 }];
  const key = mergeKey(adapters);
  const mixed = generate(client, [5, 6], { maxTokens: 12 }, adapters);
  assert.equal((await mixed.end).mergedBits, null);
  client.merge({ key, adapters, bits: null, probes: [[1, 2, 3, 4, 5, 6, 7]] });
  const merged = (await until('merged')) as Extract<MergeEvent, { state: 'merged' }>;
  assert.equal(merged.bits, 32);
  assert.deepEqual([merged.quality!.positions, merged.quality!.top1Agreement], [7, 1]);
  assert.ok(merged.quality!.meanKl < 1e-6 && merged.bytes > 0, JSON.stringify(merged));
  for (let round = 1; round <= 2; round++) {
    const run = generate(client, [5, 6], { maxTokens: 12 }, adapters);
    assert.equal((await run.end).mergedBits, 32);
    assert.deepEqual(run.tokens, mixed.tokens);
    assert.equal(client.stats.merges!.bytes, merged.bytes);
    if (round === 1) process.kill(client.engines[0]!.pid!, 'SIGKILL');
    if (round === 1) await until('merged', 2);
  }
  client.unmerge(key);
  await until('unmerged');
  const after = generate(client, [5, 6], { maxTokens: 12 }, adapters);
  assert.equal((await after.end).mergedBits, null);
  assert.deepEqual([after.tokens, client.stats.merges!.bytes], [mixed.tokens, 0]);
  const lost = [{ files: { digest: 'sha256:00', config: '/nowhere', weights: '/nowhere' }, scale: 1 }];
  client.merge({ key: mergeKey(lost), adapters: lost, bits: null, probes: [] });
  assert.equal(((await until('failed')) as Extract<MergeEvent, { state: 'failed' }>).code, 'adapter_corrupt');
});
