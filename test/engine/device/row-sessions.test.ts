import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRowSessions } from '../../../src/engine/kv/row-sessions.ts';
import type { Runtime, Session } from '../../../src/runtime/session.ts';

test('a graph that could not be built is built by the next who needs it, and then once', async () => {
  const made: Session[] = [];
  let failures = 1;
  const session = async () => {
    if (failures-- > 0) throw new Error('no memory');
    const one = { release() {} } as unknown as Session;
    made.push(one);
    return one;
  };
  const sessions = createRowSessions({ session } as unknown as Runtime, 'float32');
  await assert.rejects(sessions.clear(), /no memory/);
  const [first, second] = [await sessions.clear(), await sessions.clear()];
  assert.equal(first, second);
  assert.equal(made.length, 1);
  await sessions.release();
});
