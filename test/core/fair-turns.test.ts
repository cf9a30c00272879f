import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fairTurns } from '../../src/core/fair-turns.ts';
import { currentOwner, onBehalfOf, server } from '../../src/core/on-behalf.ts';
import { fairly } from '../../src/core/serially.ts';

test('owners take turns, each in its own order, and the server goes first', async () => {
  const take = fairTurns();
  const order: string[] = [];
  const end = await take('a');
  const asked = ['a1', 'a2', 'a3', 'b1', 'c1', 'b2', `${server}s`].map(async (name) => {
    const giveBack = await take(name.length === 1 ? server : name[0]!);
    order.push(name);
    giveBack();
    giveBack();
  });
  end();
  await Promise.all(asked);
  assert.equal(order.join(' '), 's a1 b1 c1 a2 b2 a3');
});

test('no more at once than there are places', async () => {
  const take = fairTurns(3);
  let [now, most] = [0, 0];
  const work = async (owner: string) => {
    const end = await take(owner);
    most = Math.max(most, ++now);
    await new Promise(setImmediate);
    now--;
    end();
  };
  await Promise.all(Array.from({ length: 30 }, (_, i) => work(`${i % 4}`)));
  assert.deepEqual([now, most], [0, 3]);
});

test('work knows its owner wherever it leads; what fails lets the next begin', async () => {
  const inTurn = fairly();
  const done: string[] = [];
  const work = (name: string) => onBehalfOf(name, () => inTurn(async () => void done.push(currentOwner())));
  const failing = onBehalfOf('a', () =>
    inTurn(async () => {
      await new Promise(setImmediate);
      throw new Error('no');
    }),
  );
  const rest = [work('a'), work('a'), work('b')];
  await assert.rejects(failing, /no/);
  await Promise.all(rest);
  assert.deepEqual(done, ['a', 'b', 'a']);
});
