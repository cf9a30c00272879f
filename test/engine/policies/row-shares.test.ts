import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type FlowRows, hasExcess, rowGiver, rowShares } from '../../../src/engine/policies/row-shares.ts';

const flow = (id: number, running: number, waiting: number, rest: Partial<FlowRows> = {}): FlowRows => ({
  ...{ flow: id, weight: 1, counter: 0, running, waiting },
  ...rest,
});

test('shares go by weight, and what one does not want goes to the others', () => {
  assert.deepEqual(
    [...rowShares([flow(1, 16, 99), flow(2, 0, 99)], 16)],
    [
      [1, 8],
      [2, 8],
    ],
  );
  assert.deepEqual(
    new Map(rowShares([flow(1, 16, 99, { weight: 3 }), flow(2, 0, 99), flow(3, 1, 1)], 16)),
    new Map([
      [1, 10.5],
      [2, 3.5],
      [3, 2],
    ]),
  );
  assert.deepEqual([...rowShares([flow(1, 4, 0)], 16)], [[1, 4]]);
});

test('a flow below its share takes rows from the one furthest above, until both have their share', () => {
  const taken = (own: number) => rowGiver([flow(1, 16 - own, 99), flow(2, own, 99)], 2, 16, 0);
  assert.deepEqual([0, 3, 7].map(taken), [1, 1, 1]);
  assert.equal(taken(8), null);
  assert.equal(rowGiver([flow(1, 9, 9), flow(2, 7, 9), flow(3, 0, 1)], 3, 16, 0), 1);
  assert.equal(rowGiver([flow(1, 16, 99)], 1, 16, 0), null, 'its own rows are no gain');
});

test('more flows than rows: one each, from those that have two', () => {
  const many = Array.from({ length: 20 }, (_, i) => flow(i, i === 0 ? 2 : i < 15 ? 1 : 0, 5));
  assert.equal(rowGiver(many, 19, 16, 0), 0);
  const even = many.map((one) => ({ ...one, running: one.flow < 16 ? 1 : 0 }));
  assert.equal(rowGiver(even, 19, 16, 0), null);
  assert.equal(hasExcess(even, 16), false);
});

test('who has been served more than the lead beyond others waits', () => {
  const flows = [flow(1, 16, 99, { counter: 100 }), flow(2, 1, 9, { counter: 150 })];
  assert.equal(rowGiver(flows, 2, 16, 49), null);
  assert.equal(rowGiver(flows, 2, 16, 50), 1);
});

test('over any flows: shares are paid for by nobody below his, nothing flaps, and it comes to an end', () => {
  const flows = fc.array(
    fc.record({ weight: fc.constantFrom(0.5, 1, 2, 5), running: fc.nat(20), waiting: fc.nat(30) }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(flows, (drawn) => {
      const rows = drawn.reduce((sum, { running }) => sum + running, 0);
      let state = drawn.map((one, i) => flow(i, one.running, one.waiting, { weight: one.weight }));
      let handed = 0;
      for (let isMoved = true; isMoved; ) {
        isMoved = false;
        for (const taker of state.filter(({ waiting }) => waiting > 0)) {
          const giver = rowGiver(state, taker.flow, rows, 0);
          if (giver === null) continue;
          assert.notEqual(giver, taker.flow);
          const change = (one: FlowRows, by: number) => ({
            ...one,
            running: one.running + by,
            waiting: one.waiting - by,
          });
          state = state.map((one) =>
            one.flow === taker.flow ? change(one, 1) : one.flow === giver ? change(one, -1) : one,
          );
          isMoved = true;
          assert.ok(++handed <= rows, 'rows go in circles');
        }
      }
      const shares = rowShares(state, rows);
      for (const { flow, running, waiting } of state) {
        // No waiting flow is a whole row short while another has a whole row more than its share.
        if (waiting > 0 && running + 1 <= shares.get(flow)!) assert.equal(hasExcess(state, rows), false);
      }
    }),
    { numRuns: 500 },
  );
});
