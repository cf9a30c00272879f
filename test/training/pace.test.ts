import assert from 'node:assert/strict';
import test from 'node:test';
import { createPace } from '../../src/training/pace.ts';

/** Timers that are fired by hand. */
function manualTimers() {
  const waiting = new Map<() => void, number>();
  return {
    waiting,
    after(ms: number, call: () => void) {
      waiting.set(call, ms);
      return () => waiting.delete(call);
    },
  };
}

test('work and the rest behind it are in the proportion of the share', () => {
  const timers = manualTimers();
  const pace = createPace(timers);
  for (const [share, ms] of [
    [1, 0],
    [0.5, 30],
    [0.25, 90],
  ] as const) {
    pace.setShare(share);
    timers.waiting.clear();
    pace.rest(30);
    assert.deepEqual([...timers.waiting.values()], [ms]);
  }
});

test('a rest ends by its timer, by another share and by a call, and then its timer is gone', async () => {
  const timers = manualTimers();
  const pace = createPace(timers);
  pace.setShare(0.1);
  for (const end of [() => pace.wake(), () => pace.setShare(0.2)]) {
    const rest = pace.rest(1000);
    assert.equal(timers.waiting.size, 1);
    end();
    await rest;
    assert.equal(timers.waiting.size, 0);
  }
  const rest = pace.rest(1000);
  for (const call of timers.waiting.keys()) call();
  await rest;
});
