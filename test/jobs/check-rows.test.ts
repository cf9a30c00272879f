// Files of bad rows end early and never hold the event loop.

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
