import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Admission, admitWaiting } from '../../../src/engine/policies/admission.ts';

type Waiting = { readonly id: number; readonly is: Admission; overtaken: number };

/** @returns the sequences that start */
function admissible<T extends { overtaken: number }>(
  waiting: readonly T[],
  room: number,
  overtakenMax: number,
  admit: (sequence: T) => Admission,
): T[] {
  const started: T[] = [];
  const start = (sequence: T) => void started.push(sequence);
  const rules = { overtakenMax, admit, start, holdsUp: () => true };
  admitWaiting(waiting, { ...rules, room: () => (started.length < room ? 'yes' : 'never') });
  return started;
}

const queue = (...states: Admission[]): Waiting[] => states.map((is, id) => ({ id, is, overtaken: 0 }));
const ids = (sequences: readonly Waiting[]) => sequences.map(({ id }) => id);

test('first come, first served, as far as there is room, and nobody is asked beyond it', () => {
  const asked: number[] = [];
  const waiting = queue('start', 'start', 'start', 'start');
  const started = admissible(waiting, 2, 9, ({ id, is }) => {
    asked.push(id);
    return is;
  });
  assert.deepEqual(
    [ids(started), asked, ids(waiting)],
    [
      [0, 1],
      [0, 1],
      [0, 1, 2, 3],
    ],
  );
  assert.deepEqual(
    admissible(waiting, 0, 9, () => assert.fail('there is no room')),
    [],
  );
});

test('one that waits for its own adapter holds nobody up, and is not overtaken', () => {
  const waiting = queue('wait', 'start', 'wait', 'start');
  assert.deepEqual(ids(admissible(waiting, 9, 1, ({ is }) => is)), [1, 3]);
  assert.ok(waiting.every(({ overtaken }) => overtaken === 0));
});

test('one that others block is overtaken so often, and then nobody behind it starts', () => {
  const waiting = queue('start', 'blocked', ...Array<Admission>(5).fill('start'));
  assert.deepEqual(ids(admissible(waiting, 9, 3, ({ is }) => is)), [0, 2, 3, 4]);
  assert.equal(waiting[1]!.overtaken, 3);
  const rest = waiting.filter(({ id }) => id === 1 || id > 4);
  assert.deepEqual(ids(admissible(rest, 9, 3, ({ is }) => is)), []);
  // The blocked sequence starts before all others, and then these.
  assert.deepEqual(ids(admissible(rest, 9, 3, () => 'start')), [1, 5, 6]);
});

test('over any time: order, room, and no more than so many overtake a blocked one', () => {
  const arrivals = fc.array(fc.record({ every: fc.integer({ min: 1, max: 6 }), stuck: fc.boolean() }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 8 }), (arrivals, room, most) => {
      type Moody = { readonly id: number; readonly every: number; readonly stuck: boolean; overtaken: number };
      let waiting: Moody[] = [];
      /** For each sequence, younger ones that started after it was first found blocked. */
      const passed = new Map<number, number>();
      for (let step = 0; step < 200; step++) {
        const next = arrivals[step];
        if (next) waiting.push({ id: step, ...next, overtaken: 0 });
        const found = (sequence: Moody): Admission => {
          if (step % sequence.every === 0 && !(sequence.stuck && step < 100)) return 'start';
          return sequence.every % 2 === 0 && !sequence.stuck ? 'wait' : 'blocked';
        };
        const started = admissible(waiting, room, most, found);
        assert.ok(started.length <= room);
        assert.deepEqual(
          started,
          waiting.filter((sequence) => started.includes(sequence)),
        );
        for (const sequence of waiting) {
          if (started.includes(sequence) || found(sequence) !== 'blocked') continue;
          const younger = started.filter(({ id }) => id > sequence.id).length;
          passed.set(sequence.id, (passed.get(sequence.id) ?? 0) + younger);
          assert.ok(passed.get(sequence.id)! <= most, `${sequence.id} was overtaken ${passed.get(sequence.id)} times`);
        }
        waiting = waiting.filter((sequence) => !started.includes(sequence));
      }
      assert.deepEqual(waiting, [], 'somebody never started');
    }),
    { numRuns: 300 },
  );
});

test('one that there is no room for holds up nobody that there is room for, and is not overtaken', () => {
  const waiting = queue('start', 'start', 'start');
  const started: number[] = [];
  admitWaiting(waiting, {
    overtakenMax: 1,
    holdsUp: () => true,
    room: ({ id }) => (id === 1 ? 'no' : 'yes'),
    admit: ({ is }) => is,
    start: ({ id }) => void started.push(id),
  });
  assert.deepEqual([started, waiting[1]!.overtaken], [[0, 2], 0]);
});

test('one that was overtaken holds up only those that it may', () => {
  const waiting = queue('blocked', 'start', 'start');
  waiting[0]!.overtaken = 5;
  const started: number[] = [];
  admitWaiting(waiting, {
    overtakenMax: 5,
    holdsUp: (_, { id }) => id === 1,
    room: () => 'yes',
    admit: ({ is }) => is,
    start: ({ id }) => void started.push(id),
  });
  assert.deepEqual(started, [2]);
});
