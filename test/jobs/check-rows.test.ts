// Files of bad rows are refused early and never block the event loop.

import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { limits } from '../../src/core/limits.ts';
import { RowCheck } from '../../src/jobs/check-rows.ts';
import { testJobs } from '../helpers/test-jobs.ts';

const bad: Record<string, string> = {
  'a letter a line': 'x\n'.repeat(500_000),
  'an open object a line': '{"prompt":\n'.repeat(100_000),
  'not UTF-8': `${'\xff'.repeat(10)}\n`.repeat(50_000),
};

for (const [what, text] of Object.entries(bad)) {
  test(`${what}: refused after as many problems as are told, and the loop goes on`, async (t) => {
    const { files } = await testJobs(t);
    const staged = await files.stage('default');
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await assert.rejects(
      staged.rows(Readable.from([Buffer.from(text, 'latin1')]), 'fine-tune'),
      ({ code, message }) => {
        assert.equal(code, 'file_invalid');
        assert.equal(message.match(/Line \d+/g).length, limits.trainingProblems);
        return true;
      },
    );
    delay.disable();
    await staged.discard();
    t.diagnostic(`longest stop ${(delay.max / 1e6).toFixed(1)} ms`);
    assert.ok(delay.max / 1e6 < 250, `${delay.max / 1e6} ms`);
  });
}

test('fewer problems than are told are all told, and good rows are counted', () => {
  const check = new RowCheck();
  check.push(Buffer.from('{"prompt":"a","completion":"b"}\nx\n{"prompt":"a","comp'));
  check.push(Buffer.from('letion":"b"}\n\n'));
  const { rows, problemCount } = check.end();
  assert.deepEqual([rows, problemCount], [3, 1]);
});

test('lines without an end: more than a file may have are not looked at', () => {
  const check = new RowCheck();
  const many = Buffer.from('\n \t\r\n'.repeat(500_000));
  for (let i = 0; i < 3; i++) check.push(many);
  assert.ok(check.isHopeless);
  const { rows, problems } = check.end();
  assert.deepEqual([rows, problems], [0, [`The file has more than ${2 * limits.trainingRows} lines.`]]);
});

test('a row that is far more than it looks like is refused by its line', () => {
  const check = new RowCheck();
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  const names = Array.from({ length: 50_000 }, (_, i) => `"k${i}":1`).join(',');
  const call = { id: 'c', type: 'function', function: { name: 'f', arguments: deep } };
  const turns = [
    { role: 'user', content: 'a' },
    { role: 'assistant', tool_calls: [call] },
  ];
  for (const row of [`{"prompt":${deep}}`, `{"prompt":"a",${names}}`, JSON.stringify({ messages: turns })]) {
    check.push(Buffer.from(`${row}\n`));
  }
  const [first, second, third] = check.end().problems;
  assert.match(first!, /^Line 1 .*deeper than/);
  assert.match(second!, /^Line 2 .*more than 32768 members/);
  assert.match(third!, /^Line 3 .*arguments that are not JSON/);
});

test('blank lines, however many, are no rows and hold nothing up', async (t) => {
  const { files } = await testJobs(t);
  const staged = await files.stage('default');
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const blank = Buffer.from('\n'.repeat(500_000));
  await assert.rejects(staged.rows(Readable.from([blank]), 'fine-tune'), {
    code: 'file_invalid',
    message: /blank lines only/,
  });
  delay.disable();
  await staged.discard();
  assert.ok(delay.max / 1e6 < 250, `${delay.max / 1e6} ms`);
});
