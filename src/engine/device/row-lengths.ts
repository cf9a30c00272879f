// How many tokens each row of a pool holds: where a run over rows that are nobody's, or not this step's, writes what
// nobody reads. Pure.

export class RowLengths {
  readonly #lengths: number[];
  readonly #positions: number;

  /** @param rows sequences' and parked ones */
  constructor(rows: number, positions: number) {
    this.#lengths = new Array<number>(rows).fill(0);
    this.#positions = positions;
  }

  get rows(): number {
    return this.#lengths.length;
  }

  /**
   * Where the next token of a row goes: what is written there before is overwritten by it. A row that is full has no
   * next token, and ends in this very step: its last one is read no more.
   */
  next(row: number): number {
    return Math.min(this.#lengths[row]!, this.#positions - 1);
  }

  set(row: number, length: number): void {
    if (row >= 0) this.#lengths[row] = length;
  }

  move(from: number, to: number): void {
    if (from >= 0) this.set(to, this.#lengths[from]!);
  }

  swap(one: number, other: number): void {
    const length = this.#lengths[one]!;
    this.#lengths[one] = this.#lengths[other]!;
    this.#lengths[other] = length;
  }
}
