// Whether one more sequence is taken: the queue has places for every flow, and what would come too late is refused
// while its caller can still go elsewhere. Pure but for what it learns of the queue's pace.

import { LorikeetError } from '../core/errors.ts';
import { mayTake, type Share } from '../core/share.ts';
import { DrainRate } from './drain-rate.ts';
import type { FlowLoad } from './flow-load.ts';
import type { SequenceEnd } from './messages.ts';

export type QueueLimits = {
  /** Sequences, and prompt tokens, of one flow that may wait while no other flow's do; all together twice as many. */
  readonly waitingRequests: number;
  readonly waitingTokens: number;
};

export type Asked = {
  readonly share: Share;
  readonly promptTokens: number;
  /** Infinity: somebody always waits for it. */
  readonly timeoutMs: number;
  /** Sequences that run at once. */
  readonly slots: number;
  readonly now: number;
};

/** Weight of the newest sequence in the mean service time. */
const newest = 0.1;
const secondsMax = 60;

export class AdmissionControl {
  readonly #limits: QueueLimits;
  readonly #drainRate = new DrainRate();
  /** From a sequence's start to its end, milliseconds; 0 before the first. */
  #serviceMs = 0;
  #served = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** @param since when it began to wait */
  started(now: number, since: number): void {
    this.#drainRate.started(now, since);
  }

  /** Those that were cut off say nothing of how long one takes. @param ms from its start */
  ended({ reason }: SequenceEnd, ms: number): void {
    if (reason !== 'stop' && reason !== 'length') return;
    const weight = Math.max(newest, 1 / ++this.#served);
    this.#serviceMs += weight * (ms - this.#serviceMs);
  }

  /** Throws `server_overloaded` with the seconds after which it is worth another try. */
  assertRoom(load: FlowLoad, { share, promptTokens, timeoutMs, slots, now }: Asked): void {
    const starts = load.startsBefore(share, slots);
    if (!this.#hasRoom(load, share, promptTokens, slots)) {
      const retryAfterSeconds = this.#drainRate.retryAfterSeconds(Math.max(1, starts - 1), now);
      throw new LorikeetError('server_overloaded', { retryAfterSeconds });
    }
    // Where many expire while they run, starts come faster than answers: what slots can do is a bound on both.
    const msEach = Math.max(this.#drainRate.msEach(now) ?? 0, this.#serviceMs / slots);
    const lateMs = starts * msEach + this.#serviceMs - timeoutMs;
    if (lateMs <= 0) return;
    throw new LorikeetError('server_overloaded', {
      message: `The answer would not be ready within timeout_ms, which is ${timeoutMs}. Try again later.`,
      retryAfterSeconds: Math.min(Math.max(1, Math.ceil(lateMs / 1000)), secondsMax),
    });
  }

  #hasRoom(load: FlowLoad, share: Share, promptTokens: number, slots: number): boolean {
    const { waitingRequests, waitingTokens } = this.#limits;
    const own = load.of(share);
    const places = 2 * (waitingRequests + Math.max(slots - load.running, 0));
    if (!mayTake({ places, taken: load.waiting, own: own.waiting })) return false;
    // A single long prompt of a flow always passes: the context, not the queue, limits it.
    const tokens = { places: 2 * waitingTokens, taken: load.waitingTokens, own: own.waitingTokens };
    return own.waiting === 0 || mayTake({ ...tokens, size: promptTokens });
  }
}
