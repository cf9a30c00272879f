// Merges across the deaths of engines: wanted merges are asked for again, and no others.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { MergeEvent, MergeRequest } from '../../src/protocol/messages.ts';
import { type Supervised, supervised } from './supervised.ts';

const request = (key: string): MergeRequest => ({ key, adapters: [], bits: null, probes: [] });

/** Keys that the newest engine was asked to merge, and to unmerge. */
const asked = ({ engine }: Supervised) =>
  engine().commands.flatMap((command) =>
    command.type === 'merge' ? [command.merge.key] : command.type === 'unmerge' ? [`-${command.key}`] : [],
  );

function open(): Supervised & { events: MergeEvent[]; restart(): void } {
  const supervisor = supervised();
  const events: MergeEvent[] = [];
  supervisor.client.onMerge((event) => events.push(event));
  return {
    ...supervisor,
    events,
    restart() {
      supervisor.engine().die();
      supervisor.time.advance(60_000);
      supervisor.engine().ready();
    },
  };
}

test('every engine that becomes ready is asked for the wanted merges, before the sequences that waited', () => {
  const supervisor = open();
  const { client, engine } = supervisor;
  client.merge(request('a'));
  assert.deepEqual(asked(supervisor), []);
  engine().ready();
  client.merge(request('b'));
  client.merge(request('a'));
  assert.deepEqual(asked(supervisor), ['a', 'b']);
  client.unmerge('a');
  engine().die();
  supervisor.submit();
  supervisor.time.advance(60_000);
  engine().ready();
  assert.deepEqual(asked(supervisor), ['b']);
  const types = engine().commands.map(({ type }) => type);
  assert.ok(types.indexOf('merge') < types.indexOf('submit'), types.join());
});

test('what failed is not asked for again; what is told reaches the listeners', () => {
  const supervisor = open();
  supervisor.engine().ready();
  for (const key of ['a', 'b']) supervisor.client.merge(request(key));
  const failed = { key: 'a', state: 'failed', code: 'merge_budget_exceeded', message: 'too much' } as const;
  supervisor.engine().merge(failed);
  supervisor.engine().merge({ key: 'b', state: 'merging', progress: 0.5 });
  assert.deepEqual(supervisor.events, [failed, { key: 'b', state: 'merging', progress: 0.5 }]);
  supervisor.restart();
  assert.deepEqual(asked(supervisor), ['b']);
});

test('an unmerge while no engine lives is told at once', () => {
  const supervisor = open();
  supervisor.engine().ready();
  supervisor.client.merge(request('a'));
  supervisor.engine().die();
  supervisor.client.unmerge('a');
  assert.deepEqual(supervisor.events, [{ key: 'a', state: 'unmerged' }]);
  supervisor.time.advance(60_000);
  supervisor.engine().ready();
  assert.deepEqual(asked(supervisor), []);
});

test('an unmerge on its way when the engine dies is answered by that, once', () => {
  const supervisor = open();
  supervisor.engine().ready();
  supervisor.client.merge(request('a'));
  supervisor.client.unmerge('a');
  assert.deepEqual(asked(supervisor), ['a', '-a']);
  supervisor.restart();
  assert.deepEqual(asked(supervisor), []);
  assert.deepEqual(supervisor.events, [{ key: 'a', state: 'unmerged' }]);
  supervisor.restart();
  assert.equal(supervisor.events.length, 1);
});
