// Where rows are, in pools of which a run reads only the first places. Rows are copied when a run wants them side by
// side at the start of a pool, and only those that are not there yet; any order among them will do. Pure: it says what
// to copy.
//
// Invariant: a row that holds anything has one place, and a place has one row. No second copy can be out of date, so a
// run reads under a row's number what was last written under it.
//
// The first pool has room for all rows and one more, so that it alone can serve every run. The other pools save copies
// where several groups of rows run in turns.

export type Place = { readonly pool: number; readonly slot: number };

export type RowCopy = { readonly from: Place; readonly to: Place };

/** The rows of a run: they take the first places of `pool` after the copies have been made in order. */
export type Gathered = {
  readonly pool: number;
  /** Place i holds row `order[i]` of those asked for; null where that is row i everywhere. */
  readonly order: readonly number[] | null;
  readonly copies: readonly RowCopy[];
};

type Row = number;

export class RowPlaces {
  /** The row in each slot of each pool; null where the slot is free. */
  readonly #rows: (Row | null)[][];
  readonly #places = new Map<Row, Place>();

  /** @param slots number of slots in each pool; the first pool has more than there are rows */
  constructor(slots: readonly number[]) {
    this.#rows = slots.map(emptyPool);
  }

  open(slots: number): void {
    this.#rows.push(emptyPool(slots));
  }

  /** Removes the last pool; the copies bring its rows to the first one. */
  close(): RowCopy[] {
    const last = this.#rows.length - 1;
    const copies: RowCopy[] = [];
    for (const row of this.#rows[last]!) if (row !== null) copies.push(this.#carry(row, this.#freePlace(last, 0)!));
    this.#rows.pop();
    return copies;
  }

  /** Empties a row. */
  drop(row: Row): void {
    this.#take(row);
  }

  /** The rows of up to `count` places of a pool from `first` on; null for a free place. */
  behind(pool: number, first: number, count: number): readonly (Row | null)[] {
    return this.#rows[pool]!.slice(first, first + count);
  }

  /** Number of rows with a place, over the slots of the first pool. */
  get share(): number {
    return this.#places.size / this.#rows[0]!.length;
  }

  /**
   * Brings rows together at the start of a pool. A row with a past of 0 holds nothing to keep. Throws where a row has a
   * past and holds nothing.
   */
  gather(rows: readonly Row[], pasts: readonly number[]): Gathered {
    const count = rows.length;
    for (const [i, row] of rows.entries()) {
      if (pasts[i] === 0) this.#take(row);
      else if (!this.#places.has(row)) throw new Error(`row ${row} holds nothing`);
    }
    const own = new Map(rows.map((row, i) => [row, i]));
    const pool = this.#cheapest(own);
    const slots = this.#rows[pool]!;
    const isThere = (row: Row) => {
      const place = this.#places.get(row);
      return place?.pool === pool && place.slot < count;
    };
    const missing = rows.filter((row) => !isThere(row));
    const copies: RowCopy[] = [];
    while (missing.length > 0) {
      // Where all first places are taken, the first pool has a free slot elsewhere: at least one row can leave.
      copies.push(...this.#seat(missing, pool, count));
      if (missing.length > 0) copies.push(...this.#makeRoom(own, pool));
    }
    const order = slots.slice(0, count).map((row) => own.get(row!)!);
    return { pool, order: order.every((row, i) => row === i) ? null : order, copies };
  }

  /** Moves rows from `missing` to free slots among the first places. */
  #seat(missing: Row[], pool: number, count: number): RowCopy[] {
    const copies: RowCopy[] = [];
    for (let slot = 0; slot < count && missing.length > 0; slot++) {
      if (this.#rows[pool]![slot] !== null) continue;
      const row = missing.shift()!;
      if (this.#places.has(row)) copies.push(this.#carry(row, { pool, slot }));
      else this.#put(row, { pool, slot });
    }
    return copies;
  }

  /** Moves other rows out of the first places, as many as find a slot elsewhere; at least one. */
  #makeRoom(own: ReadonlyMap<Row, number>, pool: number): RowCopy[] {
    const others = this.#rows[pool]!.slice(0, own.size).filter((row) => row !== null && !own.has(row));
    const copies: RowCopy[] = [];
    for (const row of others) {
      const place = this.#freePlace(pool, own.size);
      if (place) copies.push(this.#carry(row!, place));
    }
    if (copies.length === 0) throw new Error('more rows than places');
    return copies;
  }

  /**
   * The pool that needs fewest copies, counting that rows in the way come back later. The first pool is the last
   * choice.
   */
  #cheapest(own: ReadonlyMap<Row, number>): number {
    const count = own.size;
    let [best, least] = [0, Number.POSITIVE_INFINITY];
    const held = [...own.keys()].filter((row) => this.#places.has(row)).length;
    for (const pool of [...this.#rows.keys()].sort((a, b) => Number(a === 0) - Number(b === 0))) {
      const slots = this.#rows[pool]!;
      if (slots.length < count) continue;
      const there = slots.slice(0, count).filter((row) => row !== null);
      const ownThere = there.filter((row) => own.has(row)).length;
      const cost = held - ownThere + 2 * (there.length - ownThere);
      if (cost < least) [best, least] = [pool, cost];
    }
    return best;
  }

  /** The last free slot of the first pool; null if it is among the first `count` of `pool`. */
  #freePlace(pool: number, count: number): Place | null {
    const slot = this.#rows[0]!.lastIndexOf(null);
    return slot < (pool === 0 ? count : 0) ? null : { pool: 0, slot };
  }

  #carry(row: Row, to: Place): RowCopy {
    const from = this.#take(row)!;
    this.#put(row, to);
    return { from, to };
  }

  #put(row: Row, place: Place): void {
    this.#rows[place.pool]![place.slot] = row;
    this.#places.set(row, place);
  }

  #take(row: Row): Place | undefined {
    const place = this.#places.get(row);
    if (place) this.#rows[place.pool]![place.slot] = null;
    this.#places.delete(row);
    return place;
  }

  /** Throws where a row has two places or a place two rows. For tests. */
  checkIntegrity(): void {
    const found = this.#rows.flatMap((slots, pool) =>
      slots.flatMap((row, slot) => (row === null ? [] : [{ row, pool, slot }])),
    );
    if (found.length !== this.#places.size) throw new Error(`${found.length} places, ${this.#places.size} rows`);
    for (const { row, pool, slot } of found) {
      const place = this.#places.get(row);
      if (place?.pool !== pool || place.slot !== slot) throw new Error(`row ${row} is elsewhere`);
    }
  }
}

const emptyPool = (slots: number) => new Array<Row | null>(slots).fill(null);
