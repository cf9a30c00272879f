// The supervisor with a real child process, which is really killed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { environmentForChildren } from '../../src/config.ts';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import { engineProcessStarter } from '../../src/protocol/engine-process.ts';
import type { SequenceEnd } from '../../src/protocol/messages.ts';
import { type SupervisedEngine, superviseEngine } from '../../src/protocol/supervisor.ts';
import { defaultSupervisorLimits } from '../../src/protocol/supervisor-options.ts';
import { isAlive } from '../helpers/other-process.ts';
import { until } from '../helpers/waits.ts';
import { testConfig } from './simulated-engine.ts';

const entry = new URL('../fixtures/fake-engine-child.ts', import.meta.url);

function supervise(context: TestContext, device = 'cpu'): SupervisedEngine {
  const client = superviseEngine({
    startProcess: engineProcessStarter(entry, environmentForChildren({ ...process.env, HF_TOKEN: 'secret' })),
    configs: [{ ...testConfig, device }],
    limits: { ...defaultSupervisorLimits, firstDelayMs: 10, waitingRequests: 8, waitingTokens: 100 },
    clock: systemClock,
    timers: systemTimers,
    log: { info: () => {}, warn: () => {}, error: () => {} },
  });
  context.after(() => client.close(0));
  return client;
}

function generate(client: SupervisedEngine, maxTokens: number) {
  const tokens: number[] = [];
  const { promise: end, resolve } = Promise.withResolvers<SequenceEnd>();
  const { promise: firstToken, resolve: began } = Promise.withResolvers<void>();
  const abort = client.submit(
    { promptTokens: [1, 2], params: { ...defaultSamplingParams, maxTokens }, adapters: [] },
    {
      onToken: ({ token }) => {
        began();
        tokens.push(token);
      },
      onEnd: resolve,
    },
  );
  return { tokens, end, firstToken, abort };
}

test('tokens, aborts and ends cross the boundary', async (context) => {
  const client = supervise(context);
  await client.ready;
  const short = generate(client, 3);
  const long = generate(client, 1_000_000);
  assert.equal((await short.end).reason, 'length');
  assert.deepEqual(short.tokens, [1, 2, 3]);
  long.abort();
  const end = await long.end;
  assert.deepEqual([end.reason, end.completionTokens], ['abort', long.tokens.length]);
});

test('kill -9 ends what ran with a typed error, and the engine is back by itself', async (context) => {
  const client = supervise(context);
  await client.ready;
  const pid = client.engines[0]!.pid!;
  const running = generate(client, 1_000_000);
  await running.firstToken;
  process.kill(pid, 'SIGKILL');
  const end = await running.end;
  assert.equal(end.error?.code, 'engine_failed');
  assert.match(end.error?.message ?? '', /SIGKILL/);
  await until(() => client.state === 'ready');
  assert.notEqual(client.engines[0]!.pid, pid);
  assert.equal(client.restarts, 1);
  assert.equal((await generate(client, 2).end).reason, 'length');
});

test('a start that fails says why', async (context) => {
  await assert.rejects(supervise(context, 'refuses').ready, /There is no such device/);
  await assert.rejects(supervise(context, 'dies').ready, /exit code 7/);
});

test('an engine that says what no engine says is ended before anybody believes it', async (context) => {
  const client = supervise(context, 'babbles');
  await client.ready;
  const pid = client.engines[0]!.pid!;
  const running = generate(client, 1_000_000);
  const end = await running.end;
  assert.deepEqual([end.error?.code, running.tokens], ['engine_failed', []]);
  assert.match(end.error?.message ?? '', /said what is no message of its kind \(step\)/);
  await until(() => client.state === 'ready' && client.engines[0]!.pid !== pid);
  assert.ok(!isAlive(pid));
});

test('the engine inherits no secret', async (context) => {
  const inherited = (await supervise(context).ready).model.split(' ');
  assert.ok(inherited.includes('PATH'));
  assert.ok(!inherited.includes('HF_TOKEN'));
});

test('the process is gone after close', async (context) => {
  const client = supervise(context);
  await client.ready;
  const pid = client.engines[0]!.pid!;
  await client.close(1000);
  assert.equal(client.state, 'stopped');
  assert.ok(!isAlive(pid));
});

test('the engine ends when its parent is killed, and not by a signal of its own', async () => {
  const parent = spawn(
    process.execPath,
    [fileURLToPath(new URL('../fixtures/supervising-parent.ts', import.meta.url))],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const [line] = await once(parent.stdout, 'data');
  const pid = Number(String(line));
  process.kill(pid, 'SIGTERM');
  await sleep(50);
  assert.ok(isAlive(pid), 'the engine took a SIGTERM that was meant for the server');
  parent.kill('SIGKILL');
  await until(() => !isAlive(pid));
});
