// Rows in anchored pools beside a plain model of what each row holds: random ends, runs of any rows, and pools that
// come and go. Every run finds what was last written under its rows, whichever pool it is in.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type RowCopy, RowPlaces } from '../../src/engine/kv/row-places.ts';

/** Pools of values, with copies as a device makes them. */
class Pools {
  readonly places: RowPlaces;
  readonly held: (string | null)[][];
  copied = 0;

  constructor(slots: readonly number[]) {
    this.places = new RowPlaces(slots);
    this.held = slots.map((count) => new Array(count).fill(null));
  }

  #make(copies: readonly RowCopy[]): void {
    this.copied += copies.length;
    for (const { from, to } of copies) {
      assert.notEqual(this.held[from.pool]![from.slot], null, 'nothing is copied');
      this.held[to.pool]![to.slot] = this.held[from.pool]![from.slot]!;
      this.held[from.pool]![from.slot] = null;
    }
    // Consecutive copies between the same pools are made at once: none may read what another one wrote.
    const written = new Set<string>();
    for (const { from, to } of copies) {
      assert.ok(!written.has(`${from.pool} ${from.slot}`), 'a copy of a copy');
      written.add(`${to.pool} ${to.slot}`);
    }
  }

  /** Gives what each row of the run holds at its start; afterwards the rows hold `values`. */
  run(rows: readonly number[], pasts: readonly number[], values: readonly string[]): (string | null)[] {
    const { pool, order, copies } = this.places.gather(rows, pasts);
    this.places.checkIntegrity();
    this.#make(copies);
    const rowOf = (place: number) => order?.[place] ?? place;
    assert.deepEqual(
      pasts.map((_, i) => rowOf(i)).sort((a, b) => a - b),
      [...pasts.keys()],
    );
    const found: (string | null)[] = new Array(pasts.length).fill(null);
    for (let place = 0; place < pasts.length; place++) {
      found[rowOf(place)] = this.held[pool]![place]!;
      this.held[pool]![place] = values[rowOf(place)]!;
    }
    return found;
  }

  open(slots: number): void {
    this.places.open(slots);
    this.held.push(new Array(slots).fill(null));
  }

  close(): void {
    this.#make(this.places.close());
    this.held.pop();
    this.places.checkIntegrity();
  }
}

const probe = -2;

type Action =
  | { readonly kind: 'run'; readonly rows: readonly number[]; readonly fresh: readonly boolean[] }
  | { readonly kind: 'end'; readonly row: number }
  | { readonly kind: 'pool' }
  | { readonly kind: 'probe' };

const scripts = fc.integer({ min: 1, max: 7 }).chain((rows) => {
  const all = Array.from({ length: rows }, (_, row) => row);
  const run = fc.record({
    kind: fc.constant('run' as const),
    rows: fc.shuffledSubarray(all, { minLength: 1 }),
    fresh: fc.array(fc.boolean(), { minLength: rows, maxLength: rows }),
  });
  const end = fc.record({ kind: fc.constant('end' as const), row: fc.constantFrom(...all) });
  const others = fc.constantFrom<Action>({ kind: 'pool' }, { kind: 'probe' });
  const action: fc.Arbitrary<Action> = fc.oneof({ weight: 6, arbitrary: run }, { weight: 2, arbitrary: end }, others);
  return fc.record({ rows: fc.constant(rows), single: fc.boolean(), actions: fc.array(action, { maxLength: 60 }) });
});

test('every run finds what was last written under its rows', () => {
  const script = ({ rows, single, actions }: { rows: number; single: boolean; actions: readonly Action[] }) => {
    const pools = new Pools([rows + 2, ...(single ? [1] : [])]);
    const model = new Map<number, string>();
    let isOpen = false;
    const run = (wanted: readonly number[], pasts: readonly number[], mark: string) => {
      const values = pasts.map((_, i) => `${mark}.${i}`);
      const found = pools.run(wanted, pasts, values);
      for (const [i, row] of wanted.entries()) {
        if (pasts[i]! > 0) assert.equal(found[i], model.get(row), `row ${row}`);
        model.set(row, values[i]!);
      }
    };
    for (const [at, action] of actions.entries()) {
      if (action.kind === 'run') {
        const pasts = action.rows.map((row) => (action.fresh[row] || !model.has(row) ? 0 : 1));
        run(action.rows, pasts, `${at}`);
      } else if (action.kind === 'probe') {
        run([probe], [0], `${at} whole`);
        run([probe], [1], `${at} piece`);
      } else if (action.kind === 'pool') {
        if (isOpen) pools.close();
        else pools.open(rows);
        isOpen = !isOpen;
      } else {
        model.delete(action.row);
        pools.places.drop(action.row);
      }
      pools.places.checkIntegrity();
    }
  };
  fc.assert(fc.property(scripts, script), { numRuns: 3000, seed: 5 });
});

test('with a pool for each of two groups, steps copy nothing, whatever became of their rows before', () => {
  const pools = new Pools([10, 1]);
  pools.open(8);
  for (let row = 0; row < 7; row++) pools.run([row], [0], [`${row}`]);
  const step = () => {
    pools.run([0, 1, 2], [1, 1, 1], ['a', 'b', 'c']);
    pools.run([6, 4, 3, 5], [1, 1, 1, 1], ['d', 'e', 'f', 'g']);
  };
  step();
  const before = pools.copied;
  for (let i = 0; i < 5; i++) step();
  assert.equal(pools.copied, before);
  // A prompt runs beside them, in the pool of one row.
  pools.run([7], [0], ['p']);
  step();
  assert.equal(pools.copied, before);
  // A row of the first group ends, and the group's last row takes its place.
  pools.places.drop(0);
  assert.deepEqual(pools.run([1, 2], [1, 1], ['h', 'i']), ['b', 'c']);
  assert.deepEqual(pools.run([3, 4, 5, 6], [1, 1, 1, 1], ['j', 'k', 'l', 'm']), ['f', 'e', 'g', 'd']);
  assert.equal(pools.copied, before + 1);
});

test('a row that was never written is no past, nor is one that ended', () => {
  const { places } = new Pools([4, 1]);
  assert.throws(() => places.gather([0], [1]), /row 0 holds nothing/);
  places.gather([0], [0]);
  places.gather([0], [1]);
  places.drop(0);
  assert.throws(() => places.gather([0], [1]), /row 0 holds nothing/);
});
