// Merges of several engines as one.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { MergeEvent } from '../../src/protocol/messages.ts';
import { supervised } from './supervised.ts';

const made = (key: string, more: Partial<Extract<MergeEvent, { state: 'merged' }>> = {}): MergeEvent => ({
  ...{ key, state: 'merged', bits: 4, bytes: 1, ms: 1, quality: null },
  ...more,
});
const failure = { key: 'a', state: 'failed', code: 'merge_budget_exceeded', message: 'too much' } as const;

function merging(count = 2) {
  const world = supervised({}, count);
  const events: MergeEvent[] = [];
  world.client.onMerge((event) => void events.push(event));
  const take = () => events.splice(0);
  const asked = (i: number) =>
    world
      .engine(i)
      .commands.flatMap((one) =>
        one.type === 'merge' ? [one.merge.key] : one.type === 'unmerge' ? [`-${one.key}`] : [],
      );
  return {
    ...{ ...world, take, asked },
    merge: (key: string) => world.client.merge({ key, adapters: [], bits: null, probes: [] }),
    restart(i: number) {
      world.engine(i).die();
      world.time.advance(60_000);
      world.engine(i).ready();
    },
  };
}

test('a merge is made when every engine has it: the slowest says how far it is', () => {
  const { engine, merge, asked, take } = merging();
  for (const i of [0, 1]) engine(i).ready();
  merge('a');
  assert.deepEqual([asked(0), asked(1)], [['a'], ['a']]);
  engine(0).merge({ key: 'a', state: 'merging', progress: 0.8 });
  engine(1).merge({ key: 'a', state: 'merging', progress: 0.2 });
  engine(0).merge(made('a', { bytes: 5, ms: 2 }));
  assert.deepEqual(
    take().map((event) => event.state === 'merging' && event.progress),
    [0, 0.2, 0.2],
  );
  engine(1).merge(made('a', { bytes: 5, ms: 9 }));
  assert.deepEqual(take(), [made('a', { bytes: 5, ms: 9 })]);
});

test('an engine that is not there is not waited for, and makes it later while the others serve it', () => {
  const { client, engine, merge, take, restart } = merging();
  engine(0).ready();
  merge('a');
  engine(0).merge(made('a'));
  assert.deepEqual(take(), [made('a')]);
  engine(1).ready();
  engine(1).merge({ key: 'a', state: 'merging', progress: 0.5 });
  engine(1).merge(made('a'));
  assert.deepEqual(take(), []);
  restart(0);
  assert.deepEqual(take(), [], 'the other has it');
  engine(1).die();
  assert.deepEqual(take(), [{ key: 'a', state: 'merging', progress: 0 }], 'nobody has it');
  engine(0).merge(made('a'));
  assert.deepEqual(take(), [made('a')]);
  client.unmerge('a');
  assert.deepEqual(take(), [], 'one of them drains');
  engine(0).merge({ key: 'a', state: 'unmerged' });
  assert.deepEqual(take(), [{ key: 'a', state: 'unmerged' }]);
});

test('the death of the one that had not made it makes it made', () => {
  const { engine, merge, take } = merging();
  for (const i of [0, 1]) engine(i).ready();
  merge('a');
  engine(0).merge(made('a'));
  take();
  engine(1).die();
  assert.deepEqual(take(), [made('a')]);
});

test('what one cannot make is taken back from the others before it is told', () => {
  const { engine, merge, asked, take } = merging(3);
  for (const i of [0, 1, 2]) engine(i).ready();
  merge('a');
  engine(0).merge(made('a'));
  take();
  engine(1).merge(failure);
  assert.deepEqual([asked(0), asked(1), asked(2)], [['a', '-a'], ['a'], ['a', '-a']]);
  engine(2).merge({ key: 'a', state: 'merging', progress: 0.5 });
  engine(0).merge({ key: 'a', state: 'unmerged' });
  assert.deepEqual(take(), []);
  engine(2).merge({ key: 'a', state: 'unmerged' });
  assert.deepEqual(take(), [failure]);
  merge('a');
  for (const i of [0, 1, 2]) engine(i).merge(made('a'));
  assert.deepEqual(take().at(-1), made('a'), 'it may be asked for again');
});

test('an engine that fails at what others serve serves it unmerged', () => {
  const { engine, merge, take, restart, asked } = merging();
  for (const i of [0, 1]) engine(i).ready();
  merge('a');
  for (const i of [0, 1]) engine(i).merge(made('a'));
  take();
  restart(1);
  engine(1).merge(failure);
  assert.deepEqual(take(), []);
  restart(0);
  assert.deepEqual(take(), [{ key: 'a', state: 'merging', progress: 0 }]);
  engine(0).merge(made('a'));
  assert.deepEqual(take(), [made('a')]);
  assert.deepEqual(asked(1), ['a'], 'it was not asked again');
});

test('an unmerge while one fails is an unmerge', () => {
  const { client, engine, merge, take } = merging();
  for (const i of [0, 1]) engine(i).ready();
  merge('a');
  engine(0).merge(failure);
  client.unmerge('a');
  for (const i of [0, 1]) engine(i).merge({ key: 'a', state: 'unmerged' });
  assert.deepEqual(take(), [{ key: 'a', state: 'unmerged' }]);
  client.unmerge('never');
  for (const i of [0, 1]) engine(i).merge({ key: 'never', state: 'unmerged' });
  assert.deepEqual(take(), [{ key: 'never', state: 'unmerged' }]);
});
