// A server on fakes for tests of the interface from outside: keyed, with a little of everything, on a free port. Prints
// its address and keys as JSON in one line, and ends with its standard input.

import type { TestContext } from 'node:test';
import { limits } from '../../src/core/limits.ts';
import { listen, testApp } from '../helpers/app.ts';

const ends: (() => unknown)[] = [];
const context = { after: (end: () => unknown) => ends.unshift(end) } as unknown as TestContext;

const testing = await testApp(context, {
  stepMs: 0,
  deps: { limits: { ...limits, authAttempts: 1_000_000, liveJobs: 100_000, liveJobsInAll: 100_000 } },
});
/** A name that no test of the interface makes up: it could disable itself. */
const tenant = 'contract-tests';
const { app, engine, keys, registry, training } = testing;
const { key } = await keys.create({ tenant, name: 'contract', scopes: ['operator'] });
for (const name of ['x', 'org/y']) await registry.add(name, { tenant });
await registry.setAlias(tenant, { name: 'x', alias: 'prod', targets: [{ version: 1, weight: 1 }], expected: null });
await training.create({ tenant });
// What fakes remember for tests is no memory of the server's: of the log only errors are kept.
const errors: object[] = [];
const forget = () => {
  errors.push(...testing.log.splice(0).filter(({ level }) => (level as number) >= 50));
  engine.submitted.length = 0;
  engine.ended.length = 0;
};
setInterval(forget, 1000).unref();
// Asked by a signal, it tells what is left on its heap after a collection; with --expose-gc.
process.on('SIGUSR2', () => {
  forget();
  globalThis.gc?.();
  process.stdout.write(`${JSON.stringify({ heapBytes: process.memoryUsage().heapUsed })}\n`);
});
// Merges that are waited for come to their end.
const told = new Set<string>();
setInterval(() => {
  for (const { key, bits } of engine.merges.values()) {
    if (!told.has(key)) engine.tellMerge({ key, state: 'merged', bits: bits ?? 8, bytes: 400, ms: 1, quality: null });
    told.add(key);
  }
  for (const key of told) if (!engine.merges.has(key)) told.delete(key);
}, 20).unref();
const port = await listen(app);
process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}`, key })}\n`);
process.stdin.resume().once('end', async () => {
  for (const end of ends) await end();
  forget();
  for (const error of errors.slice(0, 20)) process.stderr.write(`${JSON.stringify(error)}\n`);
  process.exit(errors.length === 0 ? 0 : 1);
});
