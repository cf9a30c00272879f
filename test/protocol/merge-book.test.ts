// Merges over the life of engines: each engine is asked for the wanted merges, and nobody waits for a dead one.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { MergeEvent } from '../../src/protocol/messages.ts';
import { supervised } from './supervised.ts';

function merging() {
  const testing = supervised();
  const { client, engine } = testing;
  const events: MergeEvent[] = [];
  client.onMerge((event) => void events.push(event));
  return {
    ...testing,
    events,
    merge: (key: string) => client.merge({ key, adapters: [], bits: null, probes: [] }),
    say: (event: MergeEvent) => engine().merge(event),
    /** Keys that the newest engine was asked for. */
    asked: () => engine().commands.flatMap((command) => (command.type === 'merge' ? [command.merge.key] : [])),
    restart() {
      engine().die();
      testing.time.advance(60_000);
      engine().ready();
    },
  };
}

const merged = (key: string): MergeEvent => ({ key, state: 'merged', bits: 4, bytes: 1, ms: 1, quality: null });

test('the next engine is asked for what is wanted, and not for what failed or was taken back', () => {
  const { client, engine, merge, say, asked, restart } = merging();
  merge('early');
  engine().ready();
  for (const key of ['early', 'a', 'a', 'failed', 'left']) merge(key);
  assert.deepEqual(asked(), ['early', 'a', 'failed', 'left']);
  say(merged('a'));
  say({ key: 'failed', state: 'failed', code: 'merge_budget_exceeded', message: '' });
  client.unmerge('left');
  restart();
  assert.deepEqual(asked(), ['early', 'a']);
});

test('what was to leave has left with an engine that dies, and is told once', () => {
  const { client, engine, merge, say, events, restart } = merging();
  engine().ready();
  merge('a');
  say(merged('a'));
  client.unmerge('a');
  assert.equal(events.length, 1);
  restart();
  assert.deepEqual(events.slice(1), [{ key: 'a', state: 'unmerged' }]);
  restart();
  assert.equal(events.length, 2);
});

test('a merge over which engines die is given up at the third; those that wait behind it are not', () => {
  const { engine, merge, say, events, asked, restart } = merging();
  engine().ready();
  for (const key of ['good', 'deadly', 'behind']) merge(key);
  for (let death = 0; death < 3; death++) {
    say(merged('good'));
    for (const key of ['deadly', 'behind']) say({ key, state: 'merging', progress: 0 });
    restart();
  }
  assert.deepEqual(asked(), ['good', 'behind']);
  const failed = events.filter(({ state }) => state === 'failed');
  assert.deepEqual(
    failed.map((event) => [event.key, event.state === 'failed' && event.code]),
    [['deadly', 'engine_failed']],
  );
});

test('deaths before a merge was made do not count once it was', () => {
  const { engine, merge, say, asked, restart } = merging();
  engine().ready();
  merge('a');
  for (let death = 0; death < 6; death++) {
    say({ key: 'a', state: 'merging', progress: 0 });
    if (death % 3 === 2) say(merged('a'));
    restart();
  }
  assert.deepEqual(asked(), ['a']);
});
