// Virtual token counters: how much service each of several rivals has had, over its weight ("Fairness in Serving Large
// Language Models", arXiv 2401.00588). Whoever has the least is next. Pure: no clock, no queue.

type Counter = { value: number; weight: number; waiting: number };

/** One that waits: how many of it, and its service over its weight. */
export type Rival<Id> = { readonly id: Id } & Readonly<Counter>;

/** Counters of those who left that are kept beyond those who wait. */
const idleMax = 1024;

export class VirtualCounters<Id> {
  readonly #counters = new Map<Id, Counter>();
  /** What the last one that left the queue had: where a queue that is empty begins again. */
  #left = 0;
  #waiting = 0;

  /** One more of this rival's begins to wait. The newest weight counts. */
  enter(id: Id, weight: number): void {
    const counter = this.#counters.get(id) ?? { value: 0, weight, waiting: 0 };
    counter.weight = weight;
    // Who was away has no credit for it: it begins beside those that wait.
    if (counter.waiting === 0) counter.value = Math.max(counter.value, this.#floor());
    counter.waiting++;
    this.#waiting++;
    this.#counters.set(id, counter);
  }

  /** One of this rival's waits no longer. */
  leave(id: Id): void {
    const counter = this.#counters.get(id)!;
    counter.waiting--;
    this.#waiting--;
    if (counter.waiting > 0) return;
    this.#left = counter.value;
    if (this.#counters.size > idleMax) this.#forget();
  }

  /** Service, in units of an input token. */
  charge(id: Id, cost: number): void {
    const counter = this.#counters.get(id);
    if (counter === undefined) return;
    counter.value += cost / counter.weight;
    if (this.#waiting === 0) this.#left = Math.max(this.#left, counter.value);
  }

  /** Of one that has been here. */
  of(id: Id): number {
    return this.#counters.get(id)?.value ?? this.#floor();
  }

  /** Those that wait. */
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

  /** A counter that is no higher than where its rival would begin anew says nothing. */
  #forget(): void {
    const floor = this.#floor();
    for (const [id, { value, waiting }] of this.#counters) {
      if (waiting === 0 && value <= floor) this.#counters.delete(id);
    }
  }
}
