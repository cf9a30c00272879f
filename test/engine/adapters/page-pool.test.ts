import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { pageRanks } from '../../../src/core/page-sizes.ts';
import type { HostPages } from '../../../src/engine/adapters/host-pages.ts';
import type { PagePool, Placement } from '../../../src/engine/adapters/page-pool.ts';
import type { ResidentAdapter } from '../../../src/engine/adapters/resident-adapter.ts';
import { joinedSizes } from '../../../src/engine/adapters/resident-adapter.ts';
import { virtualTime } from '../../fixtures/virtual-time.ts';
import { marked, markedPool, markedResident, markedShape, readSignature, signatureOf } from './marked-adapters.ts';

const open = (slots: number, onChange = () => {}) => markedPool(slots, virtualTime(), onChange);

function place(pool: PagePool, mark: number): { adapter: ResidentAdapter; placement: Placement } {
  const adapter = markedResident(mark);
  const placement = pool.place(adapter);
  assert.ok(placement, `no pages for ${mark}`);
  return { adapter, placement };
}

/** Asserts that the pages hold the adapter, and zeros where it has fewer ranks. */
function assertWhole(pool: PagePool<HostPages>, mark: number, placement: Placement): void {
  const row = { adapter: markedResident(mark), placement, scale: 1 };
  assert.equal(readSignature(row, pool), signatureOf([marked(mark)]));
}

test('the second row of an adapter, and one after all have ended, copies nothing', async () => {
  const pool = open(8);
  const first = place(pool, 2);
  const second = place(pool, 2);
  assert.equal(second.placement, first.placement);
  await first.placement.copied;
  const bytes = pool.takeCopiedBytes();
  // 2 layers, all linears except the head: one page for each part.
  const values = joinedSizes(markedShape).reduce(
    (sum, { linear, layers, in: inputs, outs }) =>
      linear === 'head' ? sum : sum + outs.reduce((sum, out) => sum + layers * pageRanks * (inputs + out), 0),
    0,
  );
  assert.equal(bytes, 2 * values);
  assert.deepEqual(
    pool.takeLoads().map(({ digest, tier, bytes }) => [digest, tier, bytes]),
    [['sha256:2', 'memory', first.adapter.bytes]],
  );
  for (const { placement } of [first, second]) pool.release(placement);
  assert.equal(pool.used, 0);
  const third = place(pool, 2);
  await third.placement.copied;
  assert.deepEqual(pool.takeMoves(), [{ digest: 'sha256:2', place: 'pages', isThere: true }]);
  assert.deepEqual([third.placement, pool.takeCopiedBytes(), pool.takeLoads()], [first.placement, 0, []]);
});

test('only pages that nobody uses are taken, the least recently placed first', async () => {
  const pool = open(4);
  // Each adapter takes two pages.
  const [one, two] = [place(pool, 10), place(pool, 20)];
  await Promise.all([one.placement.copied, two.placement.copied]);
  assert.equal(pool.place(markedResident(30)), null);
  assert.equal(pool.used, 4);
  pool.release(one.placement);
  pool.release(two.placement);
  pool.release(place(pool, 10).placement);
  pool.takeCopiedBytes();
  const three = place(pool, 30);
  await three.placement.copied;
  assertWhole(pool, 30, three.placement);
  pool.takeCopiedBytes();
  // 10 was placed after 20, and is still in its pages.
  await place(pool, 10).placement.copied;
  assert.equal(pool.takeCopiedBytes(), 0);
  assert.equal(pool.place(markedResident(20)), null);
});

test('slots that held an adapter of more ranks hold zeros where the next one has fewer', async () => {
  const pool = open(2);
  const large = place(pool, 10);
  await large.placement.copied;
  // Its last parts have one page of their two.
  assertWhole(pool, 10, large.placement);
  pool.release(large.placement);
  const small = place(pool, 12);
  await small.placement.copied;
  assertWhole(pool, 12, small.placement);
  pool.release(small.placement);
  const other = place(pool, 20);
  await other.placement.copied;
  assertWhole(pool, 20, other.placement);
});

test('pages that are still filling are not taken, though nobody uses them any more', async () => {
  let changes = 0;
  const pool = open(2, () => changes++);
  const first = place(pool, 10);
  pool.release(first.placement);
  await nextTurn();
  assert.equal(pool.place(markedResident(20)), null);
  // The adapter itself can be placed again, and waits for the same copy.
  const again = place(pool, 10);
  assert.equal(again.placement, first.placement);
  pool.release(again.placement);
  assert.equal(changes, 0);
  await first.placement.copied;
  assert.equal(changes, 1);
  await place(pool, 20).placement.copied;
  assert.equal(changes, 2);
});

test('what does not fit at all, and what never will', () => {
  const pool = open(2);
  assert.ok(pool.fits(markedResident(10)) && !pool.fits(markedResident(4)));
  assert.equal(pool.place(markedResident(4)), null);
  pool.checkIntegrity();
  assert.ok(!open(0).fits(markedResident(1)));
});

test('one that cannot be placed takes nothing from others', async () => {
  const pool = open(4);
  const [used, idle] = [place(pool, 10), place(pool, 20)];
  await Promise.all([used.placement.copied, idle.placement.copied]);
  pool.release(idle.placement);
  pool.takeCopiedBytes();
  // Needs three pages, for which there is no room beside those in use.
  assert.equal(pool.place(markedResident(4)), null);
  const again = place(pool, 20);
  assert.deepEqual([again.placement, pool.takeCopiedBytes()], [idle.placement, 0]);
  pool.release(again.placement);
  pool.release(used.placement);
  const large = place(pool, 4);
  await large.placement.copied;
  assertWhole(pool, 4, large.placement);
});

test('a placement that fails in its last linear leaves no slot taken', async () => {
  const pool = open(3);
  // 1 touches `output` alone, so `qkv` has room for 10, and `output` does not.
  const [only, other] = [place(pool, 1), place(pool, 5)];
  assert.equal(pool.used, 2);
  assert.equal(pool.place(markedResident(10)), null);
  for (const { placement } of [only, other]) {
    await placement.copied;
    pool.release(placement);
  }
  pool.checkIntegrity();
  await place(pool, 10).placement.copied;
});

test('a hold is let go once, and integrity tells who still holds', async () => {
  const pool = open(2);
  const { placement } = place(pool, 1);
  assert.throws(() => pool.checkIntegrity(), /1 rows still hold pages of sha256:1/);
  pool.release(placement);
  assert.throws(() => pool.release(placement), /released twice/);
  pool.checkIntegrity();
  await placement.copied;
  await place(pool, 10).placement.copied;
  // Another adapter has its slots now.
  assert.throws(() => pool.release(placement), /released twice/);
});

/** A pool of two pages whose next copy fails. */
function openFailing(onChange = () => {}) {
  const pool = open(2, onChange);
  const { memory } = pool;
  const fill = memory.fill.bind(memory);
  memory.fill = async () => {
    memory.fill = fill;
    await nextTurn();
    throw new Error('the card refused');
  };
  return pool;
}

test('pages whose copy fails are free again for whoever comes next, the same adapter included', async () => {
  let changes = 0;
  const pool = openFailing(() => changes++);
  const failed = place(pool, 10);
  const beside = place(pool, 10);
  await assert.rejects(failed.placement.copied, /the card refused/);
  assert.deepEqual([changes, pool.used, pool.takeLoads()], [1, 0, []]);
  assert.deepEqual(pool.takeMoves(), [{ digest: 'sha256:10', place: 'pages', isThere: false }]);
  pool.checkIntegrity();
  const again = place(pool, 10);
  // Rows of the failed copy end while the next one is under way.
  for (const { placement } of [failed, beside]) pool.release(placement);
  assert.throws(() => pool.release(failed.placement), /released twice/);
  await again.placement.copied;
  assertWhole(pool, 10, again.placement);
  assert.throws(() => pool.checkIntegrity(), /1 rows still hold pages of sha256:10/);
  pool.release(again.placement);
  await place(pool, 20).placement.copied;
});

test('a copy that fails when its rows have ended is no unhandled rejection, and its pages are free', async () => {
  const pool = openFailing();
  pool.release(place(pool, 10).placement);
  for (let turn = 0; turn < 5; turn++) await nextTurn();
  await place(pool, 20).placement.copied;
});
