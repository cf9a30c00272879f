import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { groupTurns } from '../../../src/engine/policies/group-turns.ts';

const groups = (...pairs: [rows: number, waited: number][]) => pairs.map(([rows, waited]) => ({ rows, waited }));

test('all of them, where so many may; those without rows never', () => {
  assert.deepEqual(groupTurns(groups([0, 9], [3, 0], [1, 0], [2, 0]), 4), [1, 2, 3]);
  assert.deepEqual(groupTurns([], 4), []);
});

test('otherwise who has waited longest; of those, who has more rows', () => {
  assert.deepEqual(groupTurns(groups([1, 0], [1, 2], [9, 1]), 1), [1]);
  assert.deepEqual(groupTurns(groups([1, 1], [5, 1], [9, 0]), 1), [1]);
  assert.deepEqual(groupTurns(groups([2, 0], [5, 1], [9, 0]), 2), [1, 2]);
});

test('nobody starves: a group waits for its turn no longer than the others take theirs once', () => {
  const script = fc.array(fc.array(fc.integer({ min: 0, max: 16 }), { minLength: 1, maxLength: 9 }), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(script, fc.integer({ min: 1, max: 5 }), (script, groupsMax) => {
      const most = Math.max(...script.map((rows) => rows.filter((count) => count > 0).length));
      const waitMax = Math.max(0, Math.ceil(most / groupsMax) - 1);
      const waited = new Array<number>(9).fill(0);
      for (const rows of script) {
        const now = rows.map((count, i) => ({ rows: count, waited: waited[i]! }));
        const turns = groupTurns(now, groupsMax);
        const wanting = now.filter(({ rows }) => rows > 0).length;
        assert.equal(turns.length, Math.min(groupsMax, wanting), 'no turn is given away');
        assert.ok(turns.every((i, at) => now[i]!.rows > 0 && (at === 0 || turns[at - 1]! < i)));
        for (let i = 0; i < waited.length; i++) {
          // As the scheduler counts: a group that has gone, or had its turn, begins anew.
          waited[i] = (rows[i] ?? 0) === 0 || turns.includes(i) ? 0 : waited[i]! + 1;
          assert.ok(waited[i]! <= waitMax, `${waited[i]} steps, ${most} groups`);
        }
      }
    }),
  );
});

test('turns are shared evenly, whatever the rows: each of its rows advances as any other', () => {
  const counts = [0, 0, 0];
  const state = groups([15, 0], [1, 0], [4, 0]);
  for (let step = 0; step < 300; step++) {
    const turns = groupTurns(state, 1);
    for (const [i, group] of state.entries()) {
      const isChosen = turns.includes(i);
      if (isChosen) counts[i]!++;
      state[i] = { rows: group.rows, waited: isChosen ? 0 : group.waited + 1 };
    }
  }
  assert.deepEqual(counts, [100, 100, 100]);
});
