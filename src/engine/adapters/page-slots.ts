// Which slots of a pool of pages are taken. Neighbouring pages of one adapter are one matrix, so an adapter takes a
// range, and it starts at a multiple of the largest power of two in its length, so that ranges of equal length line
// up. Pure bookkeeping.

export class PageSlots {
  readonly #taken: Uint8Array;

  constructor(slots: number, taken: Iterable<{ readonly first: number; readonly pages: number }> = []) {
    this.#taken = new Uint8Array(slots);
    for (const { first, pages } of taken) this.#taken.fill(1, first, first + pages);
  }

  /** The first slot of the lowest free range, or null where none is long enough. */
  take(count: number): number | null {
    const step = largestPowerOfTwoIn(count);
    for (let first = 0; first + count <= this.#taken.length; first += step) {
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

export const largestPowerOfTwoIn = (count: number): number => count & -count;
