// The client of one-shot processes, with the real process over a tiny model and with one that misbehaves.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, getPriority } from 'node:os';
import { buffer } from 'node:stream/consumers';
import test, { type TestContext } from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { openModel } from '../../src/models/open.ts';
import type { ExportOrder } from '../../src/protocol/offline-messages.ts';
import { type OfflineClient, offlineClient } from '../../src/protocol/offline-process.ts';
import { everyModule, randomAdapter } from '../engine/adapters/random-adapters.ts';
import { tinyFiles } from '../helpers/tiny-lowered.ts';
import { until } from '../helpers/waits.ts';
import { openExport } from '../offline/exported-model.ts';

const real = new URL('../../src/offline/main.ts', import.meta.url);
const fake = new URL('../fixtures/fake-offline-child.ts', import.meta.url);
const model = await tinyFiles('llama-gguf');
const { shape } = await openModel(model);
const { files: adapter } = randomAdapter(shape, { seed: 1, modules: everyModule, r: 3 });
const never = new AbortController().signal;

function client(t: TestContext, entry: URL): OfflineClient & { readonly log: object[] } {
  const log: object[] = [];
  const limits = { offlineProcesses: 2, offlineLogBytes: 100 };
  const warn = (fields: object, message: string) => void log.push({ ...fields, message });
  const offline = offlineClient({ entry, env: { GIVEN: '1' }, model, limits, log: { warn } });
  t.after(() => offline.close());
  return { ...offline, log };
}

const order = (name: string): ExportOrder => ({ adapter, format: 'gguf', dtype: 'F16', unpacked: false, name });
const code = (name: string) => (error: unknown) => error instanceof LorikeetError && error.code === name;

test('the real process exports and analyses', async (t) => {
  const offline = client(t, real);
  const [exported, analysis] = await Promise.all([
    offline.exportMerged(order('tiny merged'), never),
    offline.analyse({ adapter, against: adapter }, never),
  ]);
  const whole = await buffer(exported.body);
  assert.equal(whole.length, exported.bytes);
  assert.equal((await openModel(await openExport('gguf', whole))).shape.tiedEmbedding, false);
  assert.equal(analysis.linears.length, 7 * shape.layers + 1);
  for (const { similarity, singularValues, amplification } of analysis.linears) {
    assert.equal(singularValues.length, 3);
    assert.ok(amplification! > 0);
    for (const { phi } of [similarity!.input, similarity!.output]) assert.ok(Math.abs(phi[2]![2]! - 1) < 1e-12);
  }
  assert.deepEqual(offline.log, []);
});

test('errors keep their codes, before the first byte and after', async (t) => {
  const offline = client(t, real);
  const absent = { ...adapter, weights: '/nowhere' };
  await assert.rejects(offline.exportMerged({ ...order(''), adapter: absent }, never), code('adapter_corrupt'));
  await assert.rejects(offline.analyse({ adapter: absent, against: null }, never), code('adapter_corrupt'));
  const faulty = client(t, fake);
  await assert.rejects(faulty.exportMerged(order('refuses'), never), { code: 'adapter_corrupt', param: 'x' });
  await assert.rejects(faulty.exportMerged(order('dies'), never), /exit code 3/);
  await assert.rejects(offlineWithoutEntry(t).exportMerged(order(''), never), code('offline_failed'));
  const { body } = await faulty.exportMerged(order('short'), never);
  await assert.rejects(buffer(body), code('adapter_unsupported'));
});

const offlineWithoutEntry = (t: TestContext) => client(t, new URL('./nowhere.ts', import.meta.url));

test('it has the given environment alone, a low priority, and its complaints are logged', async (t) => {
  const offline = client(t, fake);
  await assert.rejects(offline.exportMerged(order('environment'), never), /^LorikeetError: GIVEN$/);
  await assert.rejects(offline.exportMerged(order('complains'), never), code('offline_failed'));
  const [line] = offline.log;
  assert.deepEqual(line, { kind: 'export', stderr: 'Something is odd.\n', message: 'an offline process complained' });
  const { body } = await offline.exportMerged(order('hangs'), never);
  const [pid] = await once(body, 'data');
  assert.equal(getPriority(Number(pid)), constants.priority.PRIORITY_BELOW_NORMAL);
});

test('a third is told to come again; places are free when a reader leaves', async (t) => {
  const offline = client(t, fake);
  const { body } = await offline.exportMerged(order('hangs'), never);
  const gone = new AbortController();
  await offline.exportMerged(order('hangs'), gone.signal);
  await assert.rejects(offline.analyse({ adapter, against: null }, never), code('offline_overloaded'));
  body.destroy();
  gone.abort();
  // Each process is logged when it has ended.
  await until(() => offline.log.length === 2);
  const waiting = new AbortController();
  const asked = offline.analyse({ adapter: { ...adapter, digest: 'hangs' }, against: null }, waiting.signal);
  setTimeout(() => waiting.abort(), 300);
  await assert.rejects(asked, code('offline_failed'));
  await assert.rejects(offline.exportMerged(order('hangs'), waiting.signal), { name: 'AbortError' });
});

test('what runs is killed when the server closes', async (t) => {
  const offline = client(t, fake);
  const { body } = await offline.exportMerged(order('hangs'), never);
  const read = buffer(body);
  offline.close();
  await assert.rejects(read, code('offline_failed'));
});
