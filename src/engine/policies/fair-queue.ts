// The queue: sequences wait by flow, and within a flow by subflow (an adapter at a priority). Next is the flow with the
// least service, within it the subflow with the least, and there the oldest sequence. Work-conserving: a flow that has
// nothing to start leaves its turn to the others. Knows no sequence's inside and no clock.

import { LeastFirst } from './least-first.ts';
import { type Rival, VirtualCounters } from './virtual-counters.ts';

/** Where an item waits, and with what weights, which are above 0. */
export type Line = {
  readonly flow: number;
  readonly weight: number;
  readonly subflow: string;
  readonly subflowWeight: number;
};

type Subflow<T> = { readonly id: string; readonly items: T[] };
type Flow<T> = {
  readonly id: number;
  readonly subflows: Map<string, Subflow<T>>;
  readonly counters: VirtualCounters<string>;
};

/** Number of flows beyond which those without waiting items are forgotten, with their subflows' counters. */
const idleMax = 1024;

export class FairQueue<T> {
  readonly #lineOf: (item: T) => Line;
  readonly #costOf: (item: T) => number;
  /** Flows with waiting items, and some that had such lately. */
  readonly #flows = new Map<number, Flow<T>>();
  readonly #counters = new VirtualCounters<number>();
  readonly #items = new Set<T>();
  /** The waiting items that had run before. */
  readonly #begun = new Set<T>();

  /** @param costOf what an item will be charged when it starts, in units of an input token */
  constructor(lineOf: (item: T) => Line, costOf: (item: T) => number) {
    this.#lineOf = lineOf;
    this.#costOf = costOf;
  }

  get size(): number {
    return this.#items.size;
  }

  /** Items in order of arrival. */
  [Symbol.iterator](): Iterator<T> {
    return this.#items.values();
  }

  /**
   * @param isBegun whether the item has run before; it then goes before all others of its flow, so that few items keep
   * what they hold while they wait
   */
  add(item: T, isBegun = false): void {
    const { flow: id, weight, subflow: subflowId, subflowWeight } = this.#lineOf(item);
    let flow = this.#flows.get(id);
    if (!flow) {
      flow = { id, subflows: new Map(), counters: new VirtualCounters() };
      this.#flows.set(id, flow);
    }
    let subflow = flow.subflows.get(subflowId);
    if (!subflow) {
      subflow = { id: subflowId, items: [] };
      flow.subflows.set(subflowId, subflow);
    }
    if (isBegun) subflow.items.unshift(item);
    else subflow.items.push(item);
    if (isBegun) this.#begun.add(item);
    this.#items.add(item);
    this.#counters.enter(id, weight);
    flow.counters.enter(subflowId, subflowWeight);
  }

  /** @returns false where the item does not wait */
  delete(item: T): boolean {
    if (!this.#items.delete(item)) return false;
    this.#begun.delete(item);
    const { flow: id, subflow: subflowId } = this.#lineOf(item);
    const flow = this.#flows.get(id)!;
    const subflow = flow.subflows.get(subflowId)!;
    subflow.items.splice(subflow.items.indexOf(item), 1);
    if (subflow.items.length === 0) flow.subflows.delete(subflowId);
    flow.counters.leave(subflowId);
    this.#counters.leave(id);
    if (this.#flows.size > idleMax && flow.subflows.size === 0) this.#flows.delete(id);
    return true;
  }

  /** Charges service to an item's flow and subflow, whether the item waits or not, in units of an input token. */
  charge(item: T, cost: number): void {
    const { flow, subflow } = this.#lineOf(item);
    this.#counters.charge(flow, cost);
    this.#flows.get(flow)?.counters.charge(subflow, cost);
  }

  /** Service of a flow over its weight; for a new flow the value at which it would begin. */
  counter(flow: number): number {
    return this.#counters.of(flow);
  }

  /** Flows with waiting items. */
  waitingFlows(): Rival<number>[] {
    return this.#counters.rivals();
  }

  /**
   * Yields each waiting item once, in the order in which to try them. The order follows what is charged between two
   * items. The item that was yielded last may be deleted meanwhile; items that are added are not yielded.
   */
  inOrder(): Generator<T> {
    return this.#walk(() => 0);
  }

  /** The first `count` items that will start, if each can. */
  first(count: number): T[] {
    return this.#walk(this.#costOf).take(count).toArray();
  }

  /** @param ahead service to count for an item while walking, without charging it */
  *#walk(ahead: (item: T) => number): Generator<T> {
    const flows = new LeastFirst(
      [...this.#flows.values()].filter(({ subflows }) => subflows.size > 0).map((flow) => this.#queueOf(flow)),
      ({ id, ahead }) => this.#counters.of(id) + ahead,
    );
    for (let flow = flows.least(); flow; flow = flows.least()) {
      const subflow = flow.subflows.least()!;
      const item = subflow.items[subflow.next]!;
      yield item;
      const { weight, subflowWeight } = this.#lineOf(item);
      const cost = ahead(item);
      flow.ahead += cost / weight;
      subflow.ahead += cost / subflowWeight;
      subflow.next++;
      if (subflow.next === subflow.items.length) flow.subflows.drop();
      if (flow.subflows.size === 0) flows.drop();
    }
  }

  #queueOf({ id, subflows, counters }: Flow<T>) {
    const lines = [...subflows.values()].map(({ id, items }) => ({ id, items: [...items], next: 0, ahead: 0 }));
    const serviceOf = ({ id, ahead, items, next }: (typeof lines)[number]) =>
      this.#begun.has(items[next]!) ? Number.NEGATIVE_INFINITY : counters.of(id) + ahead;
    return { id, ahead: 0, subflows: new LeastFirst(lines, serviceOf) };
  }

  /** Throws where the subflows and the set of items differ. For tests and idle moments. */
  checkIntegrity(): void {
    const subflows = [...this.#flows.values()].flatMap((flow) => [...flow.subflows.values()]);
    const lined = subflows.flatMap(({ items }) => items);
    if (lined.length !== this.#items.size || lined.some((item) => !this.#items.has(item))) {
      throw new Error(`${this.#items.size} wait, ${lined.length} stand in a line`);
    }
  }
}
