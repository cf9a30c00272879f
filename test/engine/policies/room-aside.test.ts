import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type RoomAside, roomAside } from '../../../src/engine/policies/room-aside.ts';

const quiet: RoomAside = { stepMs: 8, rows: 2, slots: 16, isMerging: false, trainingShare: 0 };

test('where nothing computes beside the steps they wait for nothing', () => {
  assert.equal(roomAside(quiet), 0);
});

test('a merge has a fifth of the time, whoever is served', () => {
  for (const rows of [1, 8, 16]) assert.equal(roomAside({ ...quiet, rows, isMerging: true }), 2);
});

test('a job has its share while half of the slots are free, and none when all are taken', () => {
  const training = { ...quiet, trainingShare: 0.5 };
  assert.equal(roomAside(training), 8);
  assert.equal(roomAside({ ...training, rows: 8 }), 8);
  assert.ok(roomAside({ ...training, rows: 12 }) < 4);
  assert.equal(roomAside({ ...training, rows: 16 }), 0);
});

test('never longer than a few steps of decoding, and never shorter for more work or fewer rows', () => {
  const rooms = fc.record({
    stepMs: fc.double({ min: 0, max: 1000, noNaN: true }),
    slots: fc.integer({ min: 1, max: 64 }),
    rows: fc.integer({ min: 1, max: 64 }),
    isMerging: fc.boolean(),
    trainingShare: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(rooms, (any) => {
      const room = { ...any, rows: Math.min(any.rows, any.slots) };
      const pause = roomAside(room);
      assert.ok(pause >= 0 && pause <= 25);
      assert.ok(roomAside({ ...room, isMerging: true }) >= pause);
      assert.ok(roomAside({ ...room, rows: Math.max(1, room.rows - 1) }) >= pause);
    }),
  );
});
