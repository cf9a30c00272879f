// Virtual token counters: the service of each of several rivals over its weight ("Fairness in Serving Large Language
// Models", arXiv 2401.00588). The rival with the least is next. Pure: no clock, no queue.

type Counter = { value: number; weight: number; waiting: number };

/** A rival that waits: its service over its weight, and how many of its items wait. */
export type Rival<Id> = { readonly id: Id } & Readonly<Counter>;

/** Number of counters beyond which those of rivals that left may be forgotten. */
const idleMax = 1024;

export class VirtualCounters<Id> {
  readonly #counters = new Map<Id, Counter>();
  /** Counter of the rival that left the queue last: where a rival begins if the queue is empty. */
  #left = 0;
  #waiting = 0;

  /** Adds a waiting item of this rival. The newest weight counts. */
  enter(id: Id, weight: number): void {
    const counter = this.#counters.get(id) ?? { value: 0, weight, waiting: 0 };
    counter.weight = weight;
    // A rival that was away gets no credit for it: it begins level with those that wait.
    if (counter.waiting === 0) counter.value = Math.max(counter.value, this.#floor());
    counter.waiting++;
    this.#waiting++;
    this.#counters.set(id, counter);
  }

  /** Removes a waiting item of this rival. */
  leave(id: Id): void {
    const counter = this.#counters.get(id)!;
    counter.waiting--;
    this.#waiting--;
    if (counter.waiting > 0) return;
    this.#left = counter.value;
    if (this.#counters.size > idleMax) this.#forget();
  }

  /** Charges service, in units of an input token. */
  charge(id: Id, cost: number): void {
    const counter = this.#counters.get(id);
    if (counter === undefined) return;
    counter.value += cost / counter.weight;
    if (this.#waiting === 0) this.#left = Math.max(this.#left, counter.value);
  }

  /** A rival's counter; for an unknown rival the value at which it would begin. */
  of(id: Id): number {
    return this.#counters.get(id)?.value ?? this.#floor();
  }

  /** The rivals that wait. */
  rivals(): Rival<Id>[] {
    const found: Rival<Id>[] = [];
    for (const [id, { value, weight, waiting }] of this.#counters) {
      if (waiting > 0) found.push({ id, value, weight, waiting });
    }
    return found;
  }

  #floor(): number {
    if (this.#waiting === 0) return this.#left;
    let least = Number.POSITIVE_INFINITY;
    for (const { value, waiting } of this.#counters.values()) if (waiting > 0) least = Math.min(least, value);
    return least;
  }

  /** Drops counters that are no higher than where their rival would begin anew. */
  #forget(): void {
    const floor = this.#floor();
    for (const [id, { value, waiting }] of this.#counters) {
      if (waiting === 0 && value <= floor) this.#counters.delete(id);
    }
  }
}
