import assert from 'node:assert/strict';
import test from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { prng } from '../../src/core/prng.ts';
import { supervised, type Witness } from './supervised.ts';

const stepMs = 10;
/** Tokens of an answer: two slots complete ten sequences a second. */
const tokens = 20;
const capacity = 10;
const deadlineMs = 2000;
const seconds = 120;

type Load = {
  readonly inTime: number;
  readonly refused: number;
  readonly waitingMost: number;
  readonly retries: number[];
};

/** Sends requests of a Poisson process at `times` the engine's capacity. */
function overload(times: number, isControlled: boolean, seed: number): Load {
  const { time, engine, submit, client } = supervised({ waitingRequests: 512, waitingTokens: 1_000_000 });
  engine().ready();
  const random = prng(seed);
  const open = new Map<Witness, number>();
  let [inTime, refused, waitingMost, next] = [0, 0, 0, 0];
  const retries: number[] = [];
  for (let now = 0; now < seconds * 1000; now += stepMs) {
    for (; next <= now; next += (-Math.log(1 - random()) * 1000) / (times * capacity)) {
      try {
        const share = { flow: random() < 0.5 ? 1 : 2, weight: 1, priority: 1 };
        open.set(submit(tokens, 4, { share, ...(isControlled ? { timeoutMs: deadlineMs } : {}) }), now);
      } catch (error) {
        assert.ok(error instanceof LorikeetError && error.code === 'server_overloaded');
        retries.push(error.retryAfterSeconds!);
        refused++;
      }
    }
    time.advance(stepMs);
    engine().step();
    waitingMost = Math.max(waitingMost, client.stats.waiting);
    for (const [witness, at] of open) {
      const [end] = witness.ends;
      if (end === undefined) continue;
      open.delete(witness);
      if (end.reason === 'length' && now + stepMs - at <= deadlineMs) inTime++;
    }
  }
  return { inTime, refused, waitingMost, retries };
}

for (const times of [1.5, 5]) {
  test(`at ${times} times what the engine can do, most of it is answered in time`, (t) => {
    for (const seed of [1, 2, 3]) {
      const [with_, without] = [overload(times, true, seed), overload(times, false, seed)];
      const most = capacity * seconds;
      t.diagnostic(
        `seed ${seed}: in time ${(with_.inTime / most).toFixed(2)} of the capacity with timeouts, ` +
          `${(without.inTime / most).toFixed(2)} without; at most ${with_.waitingMost} and ${without.waitingMost} wait`,
      );
      assert.ok(with_.inTime >= 2.5 * without.inTime, `${with_.inTime} against ${without.inTime}`);
      assert.ok(with_.inTime >= 0.85 * most, `${with_.inTime} of ${most}`);
      assert.ok(with_.waitingMost < 2 * capacity * (deadlineMs / 1000), `${with_.waitingMost} wait`);
      assert.ok(with_.retries.every((retry) => retry >= 1 && retry <= 60));
    }
  });
}

/** Slots for all requests. The rows share one processor, so a step takes longer with each row. */
const manySlots = 256;
const stepMsOf = (rows: number) => 5 + 5 * rows;
/** Answers a second at the largest possible batch. */
const sharedCapacity = 1000 / 5 / tokens;

test('where all run at once and share a processor, too, and after a crowd without timeouts', (t) => {
  for (const times of [1.5, 5]) {
    const { time, engine, submit } = supervised({ waitingRequests: 512, waitingTokens: 1_000_000 });
    engine().ready(manySlots);
    // These sequences teach a time that is far above any timeout.
    for (let i = 0; i < 100; i++) submit(tokens);
    while (time.monotonic() < 20_000) {
      time.advance(stepMsOf(engine().running));
      engine().step();
    }
    const random = prng(3);
    const open = new Map<Witness, number>();
    let [inTime, late, refused] = [0, 0, 0];
    const began = time.monotonic();
    for (let next = 0, now = 0; now < seconds * 1000; now = time.monotonic() - began) {
      for (; next <= now; next += (-Math.log(1 - random()) * 1000) / (times * sharedCapacity)) {
        try {
          open.set(submit(tokens, 4, { timeoutMs: deadlineMs }), now);
        } catch (error) {
          assert.ok(error instanceof LorikeetError && error.code === 'server_overloaded');
          refused++;
        }
      }
      time.advance(stepMsOf(engine().running));
      engine().step();
      for (const [witness] of open) {
        const [end] = witness.ends;
        if (end === undefined) continue;
        open.delete(witness);
        if (end.reason === 'length') inTime++;
        else late++;
      }
    }
    const most = sharedCapacity * seconds;
    t.diagnostic(
      `${times} times: in time ${(inTime / most).toFixed(2)} of the capacity; ${late} expired, ${refused} refused`,
    );
    assert.ok(inTime >= 0.75 * most, `${inTime} of ${most}`);
  }
});
