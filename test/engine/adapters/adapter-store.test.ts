import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AppliedAdapter } from '../../../src/core/adapter.ts';
import { LorikeetError } from '../../../src/core/errors.ts';
import { prng } from '../../../src/core/prng.ts';
import { type AdapterHold, AdapterStore, keyOf } from '../../../src/engine/adapters/adapter-store.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import {
  createLinear,
  createPart,
  createResident,
  joinedSizes,
  layerOf,
  type ResidentAdapter,
  type ResidentLinear,
} from '../../../src/engine/adapters/resident-adapter.ts';
import type { JoinedLinear } from '../../../src/graph/adapted-linear.ts';
import { virtualTime } from '../../fixtures/virtual-time.ts';
import { marked, markedResident, markedShape, markOf } from './marked-adapters.ts';

const bytes = markedResident(1).bytes;

/** A store whose loads end when the test ends them. Marks 1, 5, 11, 15, ... take `bytes` bytes. */
function open(bytesMax: number) {
  const time = virtualTime();
  const started: number[] = [];
  const loads: { readonly mark: number; end(error?: Error): void }[] = [];
  let changes = 0;
  const store = new AdapterStore({
    bytesMax,
    clock: time,
    read(applied) {
      const mark = markOf(applied);
      const { promise, resolve, reject } = Promise.withResolvers<ResidentAdapter>();
      started.push(mark);
      loads.push({ mark, end: (error) => (error ? reject(error) : resolve(markedResident(mark))) });
      return promise;
    },
    combine: (key, scaled) => combineAdapters(key, scaled, markedShape, { take: async () => {} }),
    onChange: () => changes++,
  });
  const endAll = async (error?: Error) => {
    for (let turns = 0; turns < 5; turns++) {
      for (const load of loads.splice(0)) load.end(error);
      await nextTurn();
    }
  };
  /** Holds adapters whose loads end at once. */
  const arrive = async (...adapters: AppliedAdapter[]) => {
    const hold = store.hold(adapters);
    await endAll();
    assert.ok(hold.adapter);
    return hold;
  };
  /** Adapters that were loaded and are no longer in memory. */
  const dropped = () => [...new Set(started)].map((mark) => `sha256:${mark}`).filter((key) => !store.has(key));
  return { time, store, started, dropped, loads, endAll, arrive, changes: () => changes };
}

test('all who want an adapter wait for one load, and a hold that comes later finds it there', async () => {
  const { time, store, started, loads, endAll, changes } = open(10 * bytes);
  const holds = Array.from({ length: 5 }, () => store.hold([marked(1)]));
  assert.ok(holds.every(({ adapter, error, key }) => adapter === null && error === null && key === 'sha256:1'));
  assert.deepEqual([store.resident, store.residentBytes], [0, 0]);
  time.advance(7);
  await endAll();
  holds.push(store.hold([marked(1, 0.5)]));
  assert.equal(new Set(holds.map(({ adapter }) => adapter)).size, 1);
  assert.equal(holds[0]!.adapter!.key, 'sha256:1');
  assert.deepEqual([started, loads.length, changes()], [[1], 0, 1]);
  assert.deepEqual([store.resident, store.residentBytes, store.evictions], [1, bytes, 0]);
  assert.deepEqual(store.takeLoads(), [{ digest: 'sha256:1', tier: 'disk', bytes, ms: 7 }]);
  assert.deepEqual(store.takeLoads(), []);
  assert.deepEqual(store.takeMoves(), [{ digest: 'sha256:1', place: 'memory', isThere: true }]);
  assert.deepEqual(store.takeMoves(), []);
  assert.throws(() => store.checkIntegrity(), /still held: sha256:1/);
  for (const hold of holds) hold.release();
  store.checkIntegrity();
  assert.throws(() => holds[0]!.release(), /released twice/);
  assert.deepEqual([store.resident, store.residentBytes], [1, bytes]);
});

test('what nobody holds is dropped when its room is needed, the least recently held first', async () => {
  const { store, started, dropped, arrive } = open(3 * bytes);
  for (const mark of [1, 5, 11]) (await arrive(marked(mark))).release();
  (await arrive(marked(1))).release();
  assert.deepEqual([started, dropped()], [[1, 5, 11], []]);
  const held = await arrive(marked(15));
  assert.deepEqual([dropped(), store.evictions], [['sha256:5'], 1]);
  assert.ok(store.has('sha256:1') && !store.has('sha256:5'));
  assert.equal(store.residentBytes, 3 * bytes);
  held.release();
  (await arrive(marked(5))).release();
  assert.deepEqual(dropped(), ['sha256:11']);
});

test('what is held is never dropped, also beyond the budget, and goes when it is let go', async () => {
  const { store, dropped, arrive } = open(2 * bytes);
  const holds: AdapterHold[] = [];
  for (const mark of [1, 5, 11, 15]) holds.push(await arrive(marked(mark)));
  assert.deepEqual([dropped(), store.residentBytes, store.resident, store.hasRoom], [[], 4 * bytes, 4, false]);
  const [first, second, third, fourth] = holds as [AdapterHold, AdapterHold, AdapterHold, AdapterHold];
  third.release();
  first.release();
  assert.deepEqual([dropped().sort(), store.residentBytes], [['sha256:1', 'sha256:11'], 2 * bytes]);
  second.release();
  fourth.release();
  assert.deepEqual([dropped().length, store.residentBytes, store.resident], [2, 2 * bytes, 2]);
  store.checkIntegrity();
});

test('a failure reaches every holder, and the next hold tries again', async () => {
  const { store, started, endAll } = open(10 * bytes);
  const failure = new LorikeetError('adapter_corrupt');
  const holds = [1, 1, 1].map((mark) => store.hold([marked(mark)]));
  await endAll(failure);
  await Promise.all(holds.map(({ settled }) => settled));
  assert.ok(holds.every(({ adapter, error }) => adapter === null && error === failure));
  for (const hold of holds) hold.release();
  store.checkIntegrity();
  assert.ok(!store.has('sha256:1'));
  const again = store.hold([marked(1)]);
  await endAll();
  assert.ok(again.adapter);
  assert.deepEqual([started, store.takeLoads().length], [[1, 1], 1]);
});

test('a load that nobody waits for any more goes on, and what it brought stays', async () => {
  const { store, started, endAll, changes } = open(10 * bytes);
  store.hold([marked(1)]).release();
  store.checkIntegrity();
  const second = store.hold([marked(1)]);
  second.release();
  await endAll();
  store.checkIntegrity();
  assert.deepEqual([started, changes(), store.has('sha256:1'), store.residentBytes], [[1], 1, true, bytes]);
  // A failed load leaves nothing behind.
  store.hold([marked(5)]).release();
  await endAll(new Error('no disk'));
  store.checkIntegrity();
  assert.ok(!store.has('sha256:5'));
});

test('an adapter beyond the whole budget is refused, and nothing is dropped for it', async () => {
  const { store, dropped, endAll, arrive } = open(bytes);
  (await arrive(marked(1))).release();
  const hold = store.hold([marked(8)]);
  await endAll();
  assert.ok(hold.error instanceof LorikeetError);
  assert.deepEqual([hold.error.code, dropped()], ['adapter_too_large', []]);
  hold.release();
  store.checkIntegrity();
});

test('two loads at a time, and a newcomer does not go before those that wait', async () => {
  const { store, started, loads, endAll } = open(100 * bytes);
  for (const mark of [1, 5, 11, 15]) store.hold([marked(mark)]);
  assert.deepEqual([started, store.hasRoom], [[1, 5], false]);
  loads.shift()!.end();
  // Asks in every microtask while the place is handed on.
  for (let i = 0; i < 10; i++) {
    store.hold([marked(21 + 10 * i)]);
    await Promise.resolve();
  }
  await nextTurn();
  assert.deepEqual(started, [1, 5, 11]);
  while (loads.length > 0) {
    assert.ok(loads.length <= 2);
    loads.shift()!.end();
    await nextTurn();
  }
  await endAll();
  assert.deepEqual(started, [1, 5, 11, 15, ...Array.from({ length: 10 }, (_, i) => 21 + 10 * i)]);
  assert.ok(store.hasRoom);
});

test('keys: content and scales, and one adapter’s scale is not its weights’ affair', () => {
  assert.equal(keyOf([marked(1, 0.5)]), keyOf([marked(1, 2)]));
  const keys = [
    [marked(1), marked(2)],
    [marked(2), marked(1)],
    [marked(1), marked(2, 0.5)],
    [marked(1, 0.5), marked(2)],
    [marked(1), marked(1)],
  ].map(keyOf);
  assert.equal(new Set(keys).size, keys.length);
});

test('several adapters are one that is their sum, made of those in memory, which it lets go', async () => {
  const { store, started, endAll } = open(1000 * bytes);
  const hold = store.hold([marked(1, 0.5), marked(2, 2), marked(1)]);
  await endAll();
  await hold.settled;
  assert.deepEqual(started, [1, 2]);
  assert.equal(hold.adapter!.key, 'sha256:1*0.5+sha256:2*2+sha256:1*1');
  hold.release();
  store.checkIntegrity();
  assert.equal(store.resident, 3);
  // The parts are in memory for others, and the sum for the next request.
  const others = [store.hold([marked(2)]), store.hold([marked(1, 0.5), marked(2, 2), marked(1)])];
  assert.ok(others.every(({ adapter }) => adapter !== null));
  for (const other of others) other.release();
});

test('of several adapters one that fails fails them all, and the others are let go', async () => {
  const { store, loads, endAll } = open(1000 * bytes);
  const hold = store.hold([marked(1), marked(13)]);
  const failure = new LorikeetError('adapter_corrupt');
  for (const load of loads.splice(0)) load.end(load.mark === 13 ? failure : undefined);
  await endAll();
  assert.equal(hold.error, failure);
  hold.release();
  store.checkIntegrity();
  assert.ok(store.has('sha256:1') && !store.has('sha256:13'));
});

test('an aborted load of several adapters holds its parts until it is over', async () => {
  const { store, endAll } = open(1000 * bytes);
  store.hold([marked(1), marked(2)]).release();
  store.checkIntegrity();
  await endAll();
  store.checkIntegrity();
  assert.equal(store.residentBytes, 2 * (markedResident(1).bytes + markedResident(2).bytes));
});

/** Σ scale · Bᵀ... of one layer's part as [in, out], in plain loops. */
function product(adapter: ResidentAdapter, linear: JoinedLinear, part: number, layer: number): number[] {
  const sizes = joinedSizes(markedShape).find((sizes) => sizes.linear === linear)!;
  const { in: inputs, outs } = sizes;
  const out = outs[part]!;
  const found = new Array<number>(inputs * out).fill(0);
  const source = adapter.linears.get(linear);
  if (!source) return found;
  const { ranks, a, b } = layerOf(source, part, layer, sizes);
  for (let rank = 0; rank < ranks; rank++) {
    for (let i = 0; i < inputs; i++) {
      for (let o = 0; o < out; o++) found[i * out + o]! += a[rank * inputs + i]! * b[rank * out + o]!;
    }
  }
  return found;
}

function randomResident(key: string, random: () => number, gains = false): ResidentAdapter {
  const linears = new Map<JoinedLinear, ResidentLinear>();
  for (const sizes of joinedSizes(markedShape)) {
    if (random() < 0.4) continue;
    const parts = sizes.outs.map((_, part) => createPart(sizes, part, Math.floor(random() * 20)));
    for (const { a, b } of parts)
      for (const matrix of [a, b]) for (const i of matrix.keys()) matrix[i] = random() - 0.5;
    const pages = Math.max(...parts.map(({ ranks }) => ranks));
    if (pages === 0) continue;
    const share = 0.25 + random();
    linears.set(sizes.linear, createLinear(parts, share, gains ? new Float32Array(sizes.layers * sizes.out) : null));
  }
  return createResident(key, linears);
}

test('combined adapters are the sum of their products, whatever each touches and of whatever ranks', async () => {
  const random = prng(4);
  for (let round = 0; round < 50; round++) {
    const scaled = [1, 0.5, -2].slice(0, 2 + (round % 2)).map((scale, i) => {
      return { adapter: randomResident(`${i}`, random), scale };
    });
    const combined = await combineAdapters('sum', scaled, markedShape, { take: async () => {} });
    let held = 0;
    for (const { linear, layers, outs } of joinedSizes(markedShape)) {
      for (const { a, b } of combined.linears.get(linear)?.parts ?? []) held += a.byteLength + b.byteLength;
      for (let layer = 0; layer < layers; layer++) {
        for (const part of outs.keys()) {
          const expected = scaled.map(({ adapter, scale }) =>
            product(adapter, linear, part, layer).map((value) => scale * value),
          );
          for (const [i, value] of product(combined, linear, part, layer).entries()) {
            const sum = expected.reduce((sum, values) => sum + values[i]!, 0);
            assert.ok(Math.abs(value - sum) < 1e-5);
          }
        }
      }
    }
    assert.deepEqual([combined.bytes, combined.reach === 'all'], [held, combined.linears.has('head')]);
  }
});

test('DoRA is no sum', async () => {
  const random = prng(6);
  const scaled = [false, true].map((gains) => ({ adapter: randomResident('x', random, gains), scale: 1 }));
  await assert.rejects(combineAdapters('sum', scaled, markedShape, { take: async () => {} }), {
    code: 'adapter_unsupported',
    param: 'adapters',
  });
});

test('the parts of a combined adapter count to the flow that asked for it', async () => {
  const { store, dropped, arrive, endAll } = open(5 * bytes);
  (await arrive(marked(11))).release();
  // With its two parts, the combined adapter takes the bytes of four.
  const combined = store.hold([marked(1), marked(5)], 7);
  await endAll();
  combined.release();
  assert.deepEqual([store.resident, store.residentBytes], [4, 5 * bytes]);
  // The common flow's own adapter stays: flow 7 keeps most.
  (await arrive(marked(15))).release();
  assert.deepEqual(dropped(), ['sha256:1']);
});

test('a hold without a flow leaves an adapter on the account that it had', async () => {
  const { store, dropped, arrive, endAll } = open(3 * bytes);
  (await arrive(marked(11))).release();
  for (const mark of [1, 5]) {
    const own = store.hold([marked(mark)], 7);
    await endAll();
    own.release();
  }
  // As a merge holds it.
  store.hold([marked(1)]).release();
  // Flow 7 still has two, and the common flow one: the common flow's next adapter takes the place of one of them.
  (await arrive(marked(15))).release();
  assert.deepEqual(dropped(), ['sha256:5']);
});
