import assert from 'node:assert/strict';
import test from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { mayTake, type Share } from '../../src/core/share.ts';
import { supervised } from './supervised.ts';

const of = (flow: number, weight = 1): Share => ({ flow, weight, priority: 1 });

function refusalOf(work: () => unknown): LorikeetError {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof LorikeetError, String(error));
    return error;
  }
  return assert.fail('it was taken');
}

test('half of the places for one alone, and some for whoever comes next', () => {
  const taken = [0, 0, 0, 0, 0];
  for (const [who] of taken.entries()) {
    const all = () => taken.reduce((sum, own) => sum + own, 0);
    while (mayTake({ places: 16, taken: all(), own: taken[who]! })) taken[who]!++;
  }
  assert.deepEqual(taken, [8, 4, 2, 1, 1]);
});

test('a flood fills its own places: another flow finds some, in requests and in tokens', () => {
  const { engine, submit, client } = supervised({ waitingRequests: 8, waitingTokens: 100 });
  engine().ready();
  let own = 0;
  for (; own < 100; own++) {
    try {
      submit(9, 4, { share: of(1) });
    } catch {
      break;
    }
  }
  assert.equal(own, 8 + 2, 'what waits, and the slots');
  assert.equal(refusalOf(() => submit(9, 4, { share: of(1) })).code, 'server_overloaded');
  submit(9, 4, { share: of(2) });
  submit(9, 60, { share: of(3) });
  assert.equal(refusalOf(() => submit(9, 60, { share: of(3) })).code, 'server_overloaded');
  assert.doesNotThrow(() => client.assertRoom(of(4)));
  assert.throws(() => client.assertRoom(of(1)));
});

test('what would come too late is refused at once, and told when to come again', () => {
  const { engine, submit, time } = supervised();
  engine().ready();
  // Two slots, which complete two sequences a second.
  for (let second = 0; second < 10; second++) {
    submit(1);
    submit(1);
    time.advance(1000);
    engine().step();
  }
  for (let i = 0; i < 6; i++) submit(1);
  const refused = refusalOf(() => submit(1, 4, { timeoutMs: 1000 }));
  assert.deepEqual([refused.code, refused.retryAfterSeconds], ['server_overloaded', 4]);
  submit(1, 4, { timeoutMs: 10_000 });
  // Another flow's turn comes sooner: it shares with one flow, however many sequences that flow has.
  submit(1, 4, { timeoutMs: 1000, share: of(2) });
});

test('what expires ends in time, and no engine works on it', () => {
  const { engine, submit, time } = supervised();
  engine().ready();
  const running = submit(1000, 4, { timeoutMs: 500 });
  const [first, late] = [submit(1000), submit(1000, 4, { timeoutMs: 800 })];
  engine().step();
  time.advance(500);
  assert.equal(running.ends[0]?.error?.code, 'deadline_exceeded');
  engine().step();
  time.advance(400);
  assert.deepEqual([late.ends[0]?.error?.code, first.ends.length], ['deadline_exceeded', 0]);
  engine().step();
  assert.equal(running.ends.length + late.ends.length, 2);
});

test('what waits for an engine that restarts expires too, and the next one hears what time is left', () => {
  const { engine, submit, time } = supervised();
  engine().ready();
  const [short, long] = [submit(1, 4, { timeoutMs: 300 }), submit(1, 4, { timeoutMs: 5000 })];
  engine().die();
  time.advance(400);
  assert.equal(short.ends[0]?.error?.code, 'deadline_exceeded');
  time.advance(600);
  engine().ready();
  const [sent] = engine().commands.flatMap((command) => (command.type === 'submit' ? [command.sequence] : []));
  assert.equal(sent?.timeoutMs, 4000);
  engine().step();
  assert.equal(long.ends[0]?.reason, 'length');
  time.advance(10_000);
  assert.equal(long.ends.length, 1);
});
