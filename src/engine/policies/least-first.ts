// Entries by a value that grows now and then: the one that has the least, in O(log n). A heap whose values are looked
// at anew only as they come to the top.

type Node<E> = { readonly entry: E; readonly place: number; value: number };

export class LeastFirst<E> {
  readonly #keyOf: (entry: E) => number;
  readonly #heap: Node<E>[];

  /** @param keyOf while entries are here it never falls */
  constructor(entries: readonly E[], keyOf: (entry: E) => number) {
    this.#keyOf = keyOf;
    this.#heap = entries.map((entry, place) => ({ entry, place, value: keyOf(entry) }));
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Of those with the least the first in the order given; undefined when none is left. */
  least(): E | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (!top) return undefined;
      const value = this.#keyOf(top.entry);
      if (value === top.value) return top.entry;
      top.value = value;
      this.#sink(0);
    }
  }

  /** Takes out what `least` gave last. */
  drop(): void {
    const last = this.#heap.pop();
    if (!last || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink(0);
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const node = heap[from]!;
    for (let at = from; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      if (left >= heap.length) return;
      const child = right < heap.length && isBefore(heap[right]!, heap[left]!) ? right : left;
      if (!isBefore(heap[child]!, node)) return;
      heap[at] = heap[child]!;
      heap[child] = node;
      at = child;
    }
  }
}

const isBefore = <E>(one: Node<E>, other: Node<E>) =>
  one.value < other.value || (one.value === other.value && one.place < other.place);
