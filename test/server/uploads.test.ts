// Uploads over real sockets, by senders that are slow, silent, gone or refused.

import assert from 'node:assert/strict';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { listen, testApp } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';

const digest = `sha256:${'0'.repeat(64)}`;
const octets = { 'content-type': 'application/octet-stream', 'upload-offset': '0', 'upload-length': '100000000' };
const patch = { method: 'PATCH', path: `/v1/adapters/uploads/${digest}`, headers: octets };
const form = { method: 'POST', path: '/v1/adapters', headers: { 'content-type': 'multipart/form-data; boundary=x' } };
const part = (name: string, file = '') =>
  `--x\r\ncontent-disposition: form-data; name="${name}"${file && `; filename="${file}"`}\r\n\r\n`;
const head = `${part('name')}a\r\n${part('c', 'adapter_config.json')}{"r":8,"target_modules":[]}\r\n`;
const weights = part('w', 'adapter_model.safetensors');

async function uploading(t: TestContext, changed: Partial<Record<keyof typeof limits, number>>) {
  const testing = await testApp(t, { deps: { limits: { ...limits, ...changed } } });
  const port = await listen(testing.app);
  const send = (options: object): ClientRequest => {
    const sending = request({ port, host: '127.0.0.1', agent: false, ...options });
    sending.on('error', () => {});
    t.after(() => sending.destroy());
    return sending;
  };
  return { ...testing, send };
}

async function answerOf(sending: ClientRequest) {
  const answer = await new Promise<IncomingMessage>((done) => sending.once('response', done));
  return { status: answer.statusCode, body: JSON.parse((await text(answer)) || 'null') };
}

test('ten slow senders take longer than a request may, and hold no memory', async (t) => {
  const changed = { requestTimeoutMs: 100, headersTimeoutMs: 100, uploadPeriodMs: 200, uploadPeriodBytes: 1 };
  const { send, registry } = await uploading(t, changed);
  const chunk = Buffer.alloc(256 * 1024, 7);
  const before = process.memoryUsage().rss;
  let peak = before;
  const upload = async (name: number) => {
    const sending = send(form);
    const answer = answerOf(sending);
    sending.write(head.replace('a\r\n', `adapter-${name}\r\n`) + weights);
    for (let i = 0; i < 128; i++) {
      if (!sending.write(chunk)) await new Promise((drained) => sending.once('drain', drained));
      await wait(5);
      peak = Math.max(peak, process.memoryUsage().rss);
    }
    sending.end('\r\n--x--\r\n');
    return answer;
  };
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => upload(i)));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201]));
  assert.equal((await registry.find('default', 'adapter-9')).bytes, 128 * chunk.length);
  const grown = (peak - before) / 2 ** 20;
  t.diagnostic(`320 MiB came in at once; memory grew by ${grown.toFixed(0)} MiB`);
  // This includes the senders and the garbage of this process; holding the uploads whole would take more than 320 MiB.
  assert.ok(grown < 192, `memory grew by ${grown.toFixed(0)} MiB`);
});

test('a sender who falls silent is told so, wherever it stopped, and what it sent is let go', async (t) => {
  const { send, registry } = await uploading(t, { uploadPeriodMs: 40 });
  for (const [options, sent] of [
    [form, ''],
    [form, head],
    [form, head + weights],
    [form, `${head + weights}some`],
    [patch, 'some'],
  ] as const) {
    const sending = send(options);
    sending.flushHeaders();
    sending.write(sent);
    const { status, body } = await answerOf(sending);
    assert.deepEqual([status, body.error.code], [408, 'request_timeout'], sent);
    await until(() => sending.destroyed);
  }
  assert.equal(registry.staged, 0);
});

test('a sender whose connection breaks leaves no stage; a resumable upload keeps what arrived', async (t) => {
  const { send, registry, log } = await uploading(t, {});
  for (const sent of [head, head + weights, `${head + weights}some`]) {
    const sending = send(form);
    sending.write(sent);
    await until(() => registry.staged === 1);
    await wait(20);
    sending.destroy();
    await until(() => registry.staged === 0);
  }
  const sending = send(patch);
  sending.write('some');
  const offset = async () => (await registry.uploadOf('default', digest))?.offset;
  while ((await offset()) !== 4) await wait(2);
  sending.destroy();
  await until(() => log.filter(({ status }) => status === 499).length === 4);
  assert.equal(await offset(), 4);
  assert.deepEqual(
    log.filter(({ msg }) => msg === 'internal error'),
    [],
  );
});

test('a sender who goes on after its refusal is cut off', async (t) => {
  const { send, registry } = await uploading(t, { uploadRefusedMs: 30 });
  registry.writeFailure = new LorikeetError('storage_full');
  for (const options of [form, patch]) {
    const sending = send(options);
    sending.write(options === form ? `${head + weights}some` : 'some');
    const { body } = await answerOf(sending);
    assert.equal(body.error.code, 'storage_full');
    const endless = setInterval(() => sending.write('more'), 5);
    await until(() => sending.destroyed);
    clearInterval(endless);
  }
  assert.equal(registry.staged, 0);
});

test('an upload that is refused at the door is not read', async (t) => {
  const { send, registry } = await uploading(t, { uploadRefusedMs: 30 });
  registry.stageFailure = new LorikeetError('too_many_uploads');
  const sending = send(form);
  sending.write(head);
  assert.equal((await answerOf(sending)).body.error.code, 'too_many_uploads');
});

test('a sender who goes while its key is looked up holds nothing', async (t) => {
  const { send, keys, registry, log } = await uploading(t, {});
  const { any } = keys;
  for (const options of [form, patch]) {
    const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    keys.any = async () => {
      asked.resolve();
      await answered.promise;
      return any();
    };
    const sending = send(options);
    sending.write('some');
    await asked.promise;
    const before = log.filter(({ status }) => status === 499).length;
    sending.destroy();
    await until(() => log.filter(({ status }) => status === 499).length === before + 1);
    answered.resolve();
    await wait(20);
    assert.equal(registry.staged, 0);
  }
  assert.equal(await registry.uploadOf('default', digest), null);
});
