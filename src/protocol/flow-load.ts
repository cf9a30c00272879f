// Counts each flow's running and waiting sequences, for deciding whether one more is taken. Pure bookkeeping.

import type { Share } from '../core/share.ts';

type Load = { weight: number; waiting: number; waitingTokens: number; running: number };
const nothing: Readonly<Load> = { weight: 1, waiting: 0, waitingTokens: 0, running: 0 };

export class FlowLoad {
  /** Flows that have sequences. */
  readonly #flows = new Map<number, Load>();
  /** Prompt tokens of all waiting sequences. */
  waitingTokens = 0;
  waiting = 0;
  running = 0;

  of({ flow }: Share): Readonly<Load> {
    return this.#flows.get(flow) ?? nothing;
  }

  waits({ flow, weight }: Share, tokens: number): void {
    const load = this.#flows.get(flow) ?? { ...nothing };
    load.weight = weight;
    this.#flows.set(flow, load);
    this.#change(load, 1, tokens);
  }

  starts({ flow }: Share, tokens: number): void {
    const load = this.#flows.get(flow)!;
    this.#change(load, -1, -tokens);
    load.running++;
    this.running++;
  }

  /** @param wasRunning false: the sequence was still waiting */
  ends({ flow }: Share, tokens: number, wasRunning: boolean): void {
    const load = this.#flows.get(flow)!;
    if (wasRunning) {
      load.running--;
      this.running--;
    } else this.#change(load, -1, -tokens);
    if (load.running + load.waiting === 0) this.#flows.delete(flow);
  }

  /**
   * Estimates the starts up to and including the next one of this flow: those that wait in the flow, and those of other
   * flows by weight meanwhile; at most all that wait. 0 while the flow has less than its share of the slots.
   */
  startsBefore({ flow, weight }: Share, slots: number): number {
    const own = this.#flows.get(flow) ?? nothing;
    let [waitingWeight, weights] = [weight, weight];
    for (const [id, load] of this.#flows) {
      if (id === flow) continue;
      weights += load.weight;
      if (load.waiting > 0) waitingWeight += load.weight;
    }
    const isFree = this.running + this.waiting < slots;
    const isOwed = own.running + own.waiting < Math.floor((slots * weight) / weights);
    if (isFree || isOwed) return 0;
    return Math.min(((own.waiting + 1) * waitingWeight) / weight, this.waiting + 1);
  }

  #change(load: Load, count: number, tokens: number): void {
    load.waiting += count;
    load.waitingTokens += tokens;
    this.waiting += count;
    this.waitingTokens += tokens;
  }
}
