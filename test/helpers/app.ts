// An app on fakes, made and closed for one test.

import type { TestContext } from 'node:test';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { type Clock, systemClock } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createApp } from '../../src/server/app.ts';
import type { AppDeps } from '../../src/server/deps.ts';
import { createLogger } from '../../src/server/logger.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { keyTable } from '../../src/storage/key-table.ts';
import { type KeyStore, keyStore } from '../../src/tenants/keys.ts';
import { byteTokenizer } from './byte-tokenizer.ts';
import { type FakeEngine, type FakeEngineOptions, fakeEngine } from './fake-engine.ts';

export type TestApp = {
  readonly app: FastifyInstance;
  readonly engine: FakeEngine;
  readonly keys: KeyStore;
  /** Lines of the log, parsed. */
  readonly log: Record<string, unknown>[];
  post(url: string, body: object, headers?: Record<string, string>): Promise<LightMyRequestResponse>;
};

export type TestAppOptions = FakeEngineOptions & {
  readonly deps?: Partial<AppDeps>;
  /** What the model says; `script` of the engine goes first. */
  readonly says?: string;
};

export async function testApp(t: TestContext, options: TestAppOptions = {}): Promise<TestApp> {
  const { says } = options;
  const engine = fakeEngine(says === undefined ? options : { script: () => Buffer.from(says), ...options });
  const clock: Clock = options.deps?.clock ?? systemClock;
  const db = await openDatabase(':memory:');
  const keys = keyStore(keyTable(db), clock);
  const log: Record<string, unknown>[] = [];
  let ids = 0;
  const app = createApp({
    engine,
    tokenizer: byteTokenizer(),
    model: { name: 'tiny', digest: `sha256:${'a'.repeat(64)}`, createdAt: 1_700_000_000_000 },
    keys,
    adminKey: null,
    metrics: createMetrics({ modelName: 'tiny', processMetrics: false }),
    logger: createLogger('debug', { write: (line) => log.push(JSON.parse(line)) }),
    clock,
    newId: () => String(++ids),
    limits,
    ...options.deps,
  });
  t.after(async () => {
    await engine.close(0);
    await app.close();
    await db.destroy();
  });
  await app.ready();
  const post: TestApp['post'] = (url, payload, headers = {}) => app.inject({ method: 'POST', url, payload, headers });
  return { app, engine, keys, log, post };
}

/** The `data:` payloads of a stream, parsed; `[DONE]` stays text. */
export function eventsOf(body: string): unknown[] {
  return body
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: '))
    .map((frame) => frame.slice('data: '.length))
    .map((data) => (data === '[DONE]' ? data : JSON.parse(data)));
}
