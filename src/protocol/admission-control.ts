// Whether one more sequence is taken: the queue has places for every flow, and what would come too late is refused
// while its caller can still go elsewhere. Pure but for what it learns of the queue's pace.

import { LorikeetError } from '../core/errors.ts';
import { mayTake, type Share } from '../core/share.ts';
import { DrainRate } from './drain-rate.ts';
import type { FlowLoad } from './flow-load.ts';

export type QueueLimits = {
  /** Sequences, and prompt tokens, of one flow that may wait while no other flow's do; all together twice as many. */
  readonly waitingRequests: number;
  readonly waitingTokens: number;
};

export type Asked = {
  readonly share: Share;
  readonly promptTokens: number;
  /** What it may generate. */
  readonly maxTokens: number;
  /** Infinity: somebody always waits for it. */
  readonly timeoutMs: number;
  /** Sequences that run at once. */
  readonly slots: number;
  readonly now: number;
};

/** What was done of a sequence, in how long, and how many ran beside it, itself included. */
export type Done = {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly ms: number;
  readonly rows: number;
  /** It came to its own end: then it says how long answers are, too. */
  readonly isWhole: boolean;
};

/** Weight of the newest sequence in the means. */
const newest = 0.1;
/** Tokens of a prompt that are read in the time of one that is generated. */
const promptTokensOfOne = 8;
/** An estimate is a mean: of what is taken just at it, half would come late, and be work for nothing. */
const margin = 1.25;
const secondsMax = 60;

export class AdmissionControl {
  readonly #limits: QueueLimits;
  readonly #drainRate = new DrainRate();
  /**
   * Of the engine's time for one generated token, were it that sequence's alone, milliseconds; 0 before the first. Rows
   * share the engine, so that a sequence takes this for each of its tokens and of those beside it. What few rows taught
   * is too much for many, since a batch is cheaper: then fewer are taken, and what these teach is nearer.
   */
  #msOfToken = 0;
  #known = 0;
  /** Generated tokens of an answer. */
  #tokens = 0;
  #whole = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** @param since when it began to wait */
  started(now: number, since: number): void {
    this.#drainRate.started(now, since);
  }

  ended({ promptTokens, completionTokens, ms, rows, isWhole }: Done): void {
    if (isWhole) this.#tokens += Math.max(newest, 1 / ++this.#whole) * (completionTokens - this.#tokens);
    // One that has said nothing yet may have waited for its adapter all the time.
    if (completionTokens === 0) return;
    const msOfToken = ms / workOf(promptTokens, completionTokens) / Math.max(1, rows);
    this.#msOfToken += Math.max(newest, 1 / ++this.#known) * (msOfToken - this.#msOfToken);
  }

  /** Throws `server_overloaded` with the seconds after which it is worth another try. */
  assertRoom(load: FlowLoad, asked: Asked): void {
    const { share, promptTokens, timeoutMs, slots, now } = asked;
    const starts = load.startsBefore(share, slots);
    if (!this.#hasRoom(load, share, promptTokens, slots)) {
      const retryAfterSeconds = this.#drainRate.retryAfterSeconds(Math.max(1, starts - 1), now);
      throw new LorikeetError('server_overloaded', { retryAfterSeconds });
    }
    // An idle engine is asked, whatever was learned when it was not: else nothing would ever be learned again.
    if (load.running + load.waiting === 0) return;
    const lateMs = margin * this.#readyInMs(load, starts, asked) - timeoutMs;
    if (lateMs <= 0) return;
    throw new LorikeetError('server_overloaded', {
      message: `The answer would not be ready within timeout_ms, which is ${timeoutMs}. Try again later.`,
      retryAfterSeconds: Math.min(Math.max(1, Math.ceil(lateMs / 1000)), secondsMax),
    });
  }

  #readyInMs(load: FlowLoad, starts: number, { promptTokens, maxTokens, slots, now }: Asked): number {
    // Where many expire while they run, starts come faster than answers: what slots can do is a bound on both.
    const msEach = Math.max(this.#drainRate.msEach(now) ?? 0, this.#msOfToken * workOf(promptTokens, this.#tokens));
    const rows = Math.min(slots, load.running + load.waiting + 1);
    const own = workOf(promptTokens, Math.min(maxTokens, this.#tokens));
    return starts * msEach + this.#msOfToken * own * rows;
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

/** In generated tokens. */
const workOf = (promptTokens: number, completionTokens: number) => completionTokens + promptTokens / promptTokensOfOne;
