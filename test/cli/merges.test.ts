// `lorikeet merges`, `adapters merge` and `unmerge` against the app on a loopback port.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { mergeKey } from '../../src/core/adapter.ts';
import { limits } from '../../src/core/limits.ts';
import { listen, testApp } from '../helpers/app.ts';
import { cliIn } from '../helpers/run-cli.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { until } from '../helpers/waits.ts';

const quality = { positions: 500, meanKl: 0.0123, maxKl: 0.5, top1Agreement: 0.984 };

async function server(t: TestContext) {
  const testing = await testApp(t, { deps: { limits: { ...limits, mergeWaitMs: 50 } } });
  const port = String(await listen(testing.app));
  const run = cliIn(temporaryFolder(t));
  const { digest } = await testing.registry.add('org/a');
  const key = mergeKey([{ files: { digest }, scale: 1 }]);
  return {
    ...testing,
    key,
    ask: (...args: string[]) => run([...args, '--port', port]),
    /** Reports a merge as done, under the engine's key for it, which contains the bits. */
    merged: () =>
      testing.engine.tellMerge({
        key: testing.engine.mergesAsked.at(-1)!,
        state: 'merged',
        bits: 4,
        bytes: 400_000_000,
        ms: 1500,
        quality,
      }),
  };
}

test('merge, list, unmerge', async (t) => {
  const { ask, merged } = await server(t);
  assert.match((await ask('merges')).stdout, /^No merges/);
  const asked = await ask('adapters', 'merge', 'org/a', '--bits', '4');
  assert.match(asked.stdout, /^ {2}merge +org\/a@1\n {2}state +merging, 0 %\n {2}bits +4\n {2}size +not known yet\n$/);
  merged();
  const again = await ask('adapters', 'merge', 'org/a@1', '--wait');
  assert.match(
    again.stdout,
    /merged\n.* 4\n.* 400\.0 MB\n.* 1\.5 s\n.*mean KL 0\.012, same top token at 98\.4 % of 500/,
  );
  const listed = (await ask('merges', 'list')).stdout;
  assert.match(listed, /^org\/a@1 {2}merged {2}4 bits {2}400\.0 MB {2}0 % of the traffic {2}KL 0\.012\n/);
  assert.match(listed, /\n400\.0 MB of 1\.0 MB used\n$/);
  assert.equal(JSON.parse((await ask('merges', '--json')).stdout).data[0].adapters[0].id, 'org/a@1');
  assert.equal((await ask('adapters', 'unmerge', 'org/a')).stdout, 'org/a@1 is unmerged.\n');
  assert.match((await ask('adapters', 'unmerge', 'org/a')).stderr, /merge_not_found/);
});

test('--wait outlasts the patience of the server, and says why a merge failed', async (t) => {
  const { ask, merged, engine, key, merges } = await server(t);
  const waiting = ask('adapters', 'merge', 'org/a', '--wait', '--json');
  await until(() => engine.mergesAsked.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 120));
  merged();
  assert.equal(JSON.parse((await waiting).stdout).state, 'merged');
  assert.deepEqual(engine.mergesAsked, [key]);
  await merges.unmerge('default', key, 'admin');
  const failing = ask('adapters', 'merge', 'org/a', '--wait');
  await until(() => engine.mergesAsked.length === 2);
  engine.tellMerge({ key, state: 'failed', code: 'merge_budget_exceeded', message: 'Too much.' });
  const { code, stderr } = await failing;
  assert.deepEqual([code, stderr], [1, 'merging, 0 %\nlorikeet: Too much. (merge_budget_exceeded)\n']);
  assert.equal(engine.mergesAsked.length, 2);
});

test('what is wrong on the command line is said before anybody is asked', async (t) => {
  const { ask, engine } = await server(t);
  for (const args of [
    ['adapters', 'merge'],
    ['adapters', 'merge', 'org/a', '--bits', '5'],
    ['merges', 'drop'],
  ]) {
    assert.equal((await ask(...args)).code, 2, args.join(' '));
  }
  assert.equal(engine.merges.size, 0);
});
