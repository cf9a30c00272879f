// Which slots of a pool of pages are taken. An adapter's pages lie side by side, so that they are one range.
// Bookkeeping alone.

export class PageSlots {
  readonly #taken: Uint8Array;

  constructor(slots: number, taken: Iterable<{ readonly first: number; readonly pages: number }> = []) {
    this.#taken = new Uint8Array(slots);
    for (const { first, pages } of taken) this.#taken.fill(1, first, first + pages);
  }

  /** Takes the lowest free range of `count` slots; gives its first slot, or null where none is long enough. */
  take(count: number): number | null {
    for (let first = 0; first + count <= this.#taken.length; first++) {
      if (this.#taken.subarray(first, first + count).includes(1)) continue;
      this.#taken.fill(1, first, first + count);
      return first;
    }
    return null;
  }

  free(first: number, count: number): void {
    if (this.#taken.subarray(first, first + count).includes(0)) throw new Error('a page slot was freed twice');
    this.#taken.fill(0, first, first + count);
  }

  get taken(): number {
    return this.#taken.reduce((sum, taken) => sum + taken, 0);
  }
}
