// The launcher finds the right Node and starts the server with it. However the launcher ends, its server ends too.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/core/clock.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { tinyModelPath } from '../helpers/tiny-models.ts';

const launcher = fileURLToPath(new URL('../../scripts/lorikeet.js', import.meta.url));
/** Far more than a loaded machine needs. */
const waitMsMax = 120_000;

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('a launcher that is killed takes its server along', { skip: process.platform !== 'linux' }, async (t) => {
  const folder = temporaryFolder(t);
  const settings = ['--port', '0', '--data-dir', join(folder, 'data'), '--threads', '1'];
  const child = spawn(process.execPath, [launcher, 'serve', tinyModelPath('llama'), ...settings], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH, HF_HOME: folder, HF_HUB_OFFLINE: '1' },
  });
  const exited = once(child, 'exit');
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  t.after(() => void child.kill('SIGKILL'));
  const until = systemClock.monotonic() + waitMsMax;
  const waitFor = async (what: string, isTrue: () => boolean) => {
    while (!isTrue()) {
      assert.ok(systemClock.monotonic() < until, `${what}: ${text.slice(-2000)}`);
      await wait(20);
    }
  };
  await waitFor('the server is ready', () => text.includes('ready at http'));
  const servers = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ').map(Number);
  t.after(() => {
    for (const pid of servers.filter(isAlive)) process.kill(pid, 'SIGKILL');
  });
  assert.ok(servers.length >= 1 && servers.every(isAlive), text);
  child.kill('SIGKILL');
  await exited;
  await waitFor('the server is gone', () => !servers.some(isAlive));
});
