// /v1/files: upload, its refusals, lists, content, deletion.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../src/core/limits.ts';
import { RowCheck } from '../../src/jobs/check-rows.ts';
import { type TestApp, testApp } from '../helpers/app.ts';
import { rowsText } from '../helpers/test-jobs.ts';
import { formOf, rowsForm } from './form.ts';

const url = '/v1/files';

const send = ({ app }: TestApp, form = rowsForm(rowsText(3))) => app.inject({ method: 'POST', url, ...form });

test('a file comes in, is listed, read and deleted', async (t) => {
  const testing = await testApp(t);
  const { app } = testing;
  const made = await send(testing);
  assert.equal(made.statusCode, 200, made.body);
  const { id, created_at, digest, ...rest } = made.json();
  assert.match(id, /^file-/);
  assert.match(digest, /^sha256:[0-9a-f]{64}$/);
  assert.ok(created_at > 1_700_000_000);
  const bytes = rowsText(3).length;
  assert.deepEqual(rest, {
    ...{ object: 'file', bytes, filename: 'rows.jsonl', purpose: 'fine-tune', status: 'processed', rows: 3 },
  });
  assert.deepEqual((await app.inject(`${url}/${id}`)).json(), made.json());
  assert.deepEqual((await app.inject(`${url}?purpose=fine-tune`)).json().data, [made.json()]);
  assert.deepEqual((await app.inject(`${url}?purpose=other`)).json().data, []);
  const content = await app.inject(`${url}/${id}/content`);
  assert.deepEqual([content.body, content.headers['content-length']], [rowsText(3), String(bytes)]);
  assert.deepEqual((await app.inject({ method: 'DELETE', url: `${url}/${id}` })).json(), {
    ...{ id, object: 'file', deleted: true },
  });
  for (const path of ['', '/content']) {
    const gone = await app.inject(`${url}/${id}${path}`);
    assert.deepEqual([gone.statusCode, gone.json().error.code], [404, 'file_not_found']);
  }
});

test('pages go by age, newest first or oldest first', async (t) => {
  const testing = await testApp(t);
  const ids: string[] = [];
  for (let i = 1; i <= 5; i++) ids.push((await send(testing, rowsForm(rowsText(i)))).json().id);
  const page = async (query: string) => (await testing.app.inject(`${url}?${query}`)).json();
  const first = await page('limit=2');
  assert.deepEqual([first.data.map(({ id }: { id: string }) => id), first.has_more], [[ids[4], ids[3]], true]);
  const last = await page(`limit=5&after=${first.last_id}`);
  assert.deepEqual([last.data.map(({ id }: { id: string }) => id), last.has_more], [[ids[2], ids[1], ids[0]], false]);
  assert.deepEqual((await page('order=asc&limit=1')).data[0].id, ids[0]);
});

test('parts in any order; what is missing, unknown or refused is named', async (t) => {
  const testing = await testApp(t);
  const file = { name: 'file', filename: 'x/../y.jsonl', content: rowsText(1) };
  const purpose = { name: 'purpose', content: 'fine-tune' };
  const made = await send(testing, formOf(file, purpose));
  assert.deepEqual([made.statusCode, made.json().filename], [200, 'y.jsonl']);
  const cases = [
    [formOf(file), 'missing_parameter', 'purpose'],
    [formOf(purpose), 'missing_parameter', 'file'],
    [formOf(file, { name: 'purpose', content: 'assistants' }), 'invalid_parameter', 'purpose'],
    [formOf(file, { name: 'purpoze', content: 'x' }), 'unknown_parameter', 'purpoze'],
    [formOf(purpose, { name: 'file', content: 'text' }), 'invalid_parameter', 'file'],
    [formOf(file, { name: 'expires_after[anchor]', content: 'x' }), 'unsupported_parameter', 'expires_after'],
    [rowsForm(''), 'file_invalid', 'file'],
  ] as const;
  for (const [form, code, param] of cases) {
    const { error } = (await send(testing, form)).json();
    assert.deepEqual([error.code, error.param], [code, param]);
  }
  const json = await testing.post(url, { file: 'x' });
  assert.equal(json.json().error.code, 'unsupported_media_type');
  assert.equal((await testing.app.inject(url)).json().data.length, 1);
  const folder = join(testing.registry.folder, 'training', 'files');
  assert.deepEqual(readdirSync(join(folder, 'staging')), [], 'nothing is left of what was refused');
  assert.equal(readdirSync(join(folder, 'blobs')).length, 1);
});

test('each bad row is named by its line, the first of many', async (t) => {
  const testing = await testApp(t);
  const good = '{"prompt":"a","completion":"b"}';
  const lines = [good, '{"prompt":"a"}', good, 'no JSON', '', '{"messages":[]}'];
  const { error } = (await send(testing, rowsForm(lines.join('\n')))).json();
  assert.equal(error.code, 'file_invalid');
  assert.deepEqual(error.message.match(/Line \d+/g), ['Line 2', 'Line 4', 'Line 6']);
  const many = (await send(testing, rowsForm('x\n'.repeat(100)))).json().error.message;
  assert.equal(many.match(/Line \d+/g).length, limits.trainingProblems);
  assert.match(many, /The rest was not looked at\.$/);
});

test('a file of a tenant is nobody else’s', async (t) => {
  const testing = await testApp(t);
  const keyOf = async (tenant: string, scopes: ('train' | 'generate')[]) => {
    const { key } = await testing.keys.create({ tenant, name: 'n', scopes });
    return { authorization: `Bearer ${key}` };
  };
  const [mine, theirs, other] = [
    await keyOf('a', ['train']),
    await keyOf('b', ['train']),
    await keyOf('a', ['generate']),
  ];
  const form = rowsForm(rowsText(2));
  const ask = { method: 'POST', url, payload: form.payload } as const;
  const { id } = (await testing.app.inject({ ...ask, headers: { ...form.headers, ...mine } })).json();
  assert.equal((await testing.app.inject({ url: `${url}/${id}`, headers: mine })).statusCode, 200);
  const missing = await testing.app.inject({ url: `${url}/file-none`, headers: theirs });
  const hidden = await testing.app.inject({ url: `${url}/${id}`, headers: theirs });
  assert.equal(hidden.body.replace(id, 'file-none'), missing.body);
  assert.equal((await testing.app.inject({ method: 'DELETE', url: `${url}/${id}`, headers: theirs })).statusCode, 404);
  const ofOther = await testing.app.inject({ url: `${url}/${id}`, headers: other });
  assert.equal(ofOther.json().error.code, 'insufficient_permissions');
});

test('a key sees the files of the work that it may do: rows with train, a batch’s with generate', async (t) => {
  const testing = await testApp(t);
  const keyOf = async (...scopes: ('train' | 'generate' | 'adapters')[]) => {
    const { key } = await testing.keys.create({ tenant: 'a', name: 'n', scopes });
    return { authorization: `Bearer ${key}` };
  };
  const keys = {
    train: await keyOf('train'),
    generate: await keyOf('generate'),
    both: await keyOf('train', 'generate'),
  };
  const sendAs = (headers: Record<string, string>, purpose: string, isFirst: boolean) => {
    const parts = [
      { name: 'purpose', content: purpose },
      { name: 'file', filename: 'x.jsonl', content: rowsText(2) },
    ];
    const form = formOf(...(isFirst ? parts : parts.reverse()));
    return testing.app.inject({ method: 'POST', url, payload: form.payload, headers: { ...form.headers, ...headers } });
  };
  const ids: Record<string, string> = {};
  for (const [scope, purpose] of [
    ['train', 'fine-tune'],
    ['generate', 'batch'],
  ] as const) {
    const wrong = keys[scope === 'train' ? 'generate' : 'train'];
    for (const isFirst of [true, false]) {
      const refused = await sendAs(wrong, purpose, isFirst);
      assert.deepEqual([refused.statusCode, refused.json().error.code], [403, 'insufficient_permissions']);
      assert.match(refused.json().error.message, new RegExp(`'${scope}'`));
    }
    ids[scope] = (await sendAs(keys[scope], purpose, false)).json().id;
    const path = `${url}/${ids[scope]}`;
    for (const [address, method] of [
      [path, 'GET'],
      [`${path}/content`, 'GET'],
      [path, 'DELETE'],
    ] as const) {
      assert.equal((await testing.app.inject({ url: address, method, headers: wrong })).statusCode, 403, address);
    }
    assert.equal((await testing.app.inject({ url: `${path}/content`, headers: keys[scope] })).statusCode, 200);
  }
  const listed = async (headers: Record<string, string>, query = '') =>
    (await testing.app.inject({ url: `${url}${query}`, headers })).json().data.map(({ id }: { id: string }) => id);
  assert.deepEqual(await listed(keys.train), [ids.train]);
  assert.deepEqual(await listed(keys.generate), [ids.generate]);
  assert.deepEqual(await listed(keys.both), [ids.generate, ids.train]);
  assert.deepEqual(await listed(keys.both, '?purpose=batch'), [ids.generate]);
  assert.deepEqual(await listed(keys.generate, '?purpose=fine-tune'), []);
  const neither = await testing.app.inject({ url, headers: await keyOf('adapters') });
  assert.match(neither.json().error.message, /lacks the scope 'train' or 'generate'/);
});

test('a web page cannot make a browser send rows to a server without keys', async (t) => {
  const testing = await testApp(t);
  const form = rowsForm(rowsText(2));
  const headers = { ...form.headers, origin: 'https://example.com' };
  const answer = await testing.app.inject({ method: 'POST', url, payload: form.payload, headers });
  assert.equal(answer.json().error.code, 'origin_not_allowed');
});

/** A valid row, or one with one thing wrong. */
const row = fc.oneof(
  fc
    .record({ prompt: fc.string(), completion: fc.string() })
    .map((value) => ({ text: JSON.stringify(value), good: true })),
  fc
    .array(fc.record({ role: fc.constantFrom('user', 'assistant'), content: fc.string() }), {
      minLength: 1,
      maxLength: 3,
    })
    .map((messages) => [...messages, { role: 'assistant', content: 'yes' }])
    .map((messages) => ({ text: JSON.stringify({ messages }), good: true })),
  fc
    .constantFrom(
      '[]',
      '{',
      'null',
      '{"prompt":1,"completion":""}',
      '{"prompt":"a","completion":"b","c":1}',
      '\ufeff{}',
    )
    .map((text) => ({ text, good: false })),
);

test('rows are found good or bad one by one, however they are cut on their way', () => {
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 40 }), (rows, size) => {
      const check = new RowCheck();
      const bytes = Buffer.from(`${rows.map(({ text }) => text).join('\n')}\n`);
      for (let from = 0; from < bytes.length; from += size) check.push(bytes.subarray(from, from + size));
      const { rows: count, problems } = check.end();
      assert.equal(count, rows.length);
      const bad = rows.flatMap(({ good }, i) => (good ? [] : [`Line ${i + 1}`]));
      assert.deepEqual(
        problems.map((problem) => /^Line \d+/.exec(problem)?.[0]),
        bad,
      );
    }),
  );
});

test('bytes that are no text, and a line without an end, cost no memory', () => {
  const check = new RowCheck();
  check.push(Buffer.from([0xff, 0xfe, 0x0a]));
  const chunk = Buffer.alloc(2 ** 20, 'x');
  for (let i = 0; i < 8; i++) check.push(chunk);
  check.push(Buffer.from('\n'));
  const { problems } = check.end();
  assert.match(problems[0]!, /^Line 1 is not UTF-8\.$/);
  assert.match(problems[1]!, /^Line 2 is longer than \d+ characters\.$/);
});
