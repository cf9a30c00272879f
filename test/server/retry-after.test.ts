import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drainRate } from '../../src/server/retry-after.ts';

test('the wait is the queue times the gap between ends, 1 to 60 seconds', () => {
  let now = 0;
  const rate = drainRate({ now: () => now, monotonic: () => now });
  assert.equal(rate.secondsFor(100), 1);
  for (let i = 0; i < 20; i++) {
    rate.sequenceEnded();
    now += 250;
  }
  assert.equal(rate.secondsFor(0), 1);
  assert.equal(rate.secondsFor(40), 10);
  assert.equal(rate.secondsFor(10_000), 60);
});

test('a change of pace is followed', () => {
  let now = 0;
  const rate = drainRate({ now: () => now, monotonic: () => now });
  for (const gap of [...Array(10).fill(100), ...Array(60).fill(1000)]) {
    rate.sequenceEnded();
    now += gap;
  }
  assert.equal(rate.secondsFor(10), 10);
});
