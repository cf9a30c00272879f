// Entries ordered by values that grow now and then: gives the entry with the least value in O(log n). A heap that looks
// at a value anew only when its entry comes to the top.

type Node<E> = { readonly entry: E; readonly place: number; value: number };

export class LeastFirst<E> {
  readonly #keyOf: (entry: E) => number;
  readonly #heap: Node<E>[];

  /** @param keyOf an entry's value, which never falls while the entry is here */
  constructor(entries: readonly E[], keyOf: (entry: E) => number) {
    this.#keyOf = keyOf;
    this.#heap = entries.map((entry, place) => ({ entry, place, value: keyOf(entry) }));
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  get size(): number {
    return this.#heap.length;
  }

  /** The first, in the order given, of the entries with the least value; undefined when none is left. */
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

  /** Removes the entry that `least` gave last. */
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
