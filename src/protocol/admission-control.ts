// Decides whether one more sequence is taken. The queue has places for every flow, and a sequence that would finish too
// late is refused while its caller can still go elsewhere. Pure except for what it learns about the queue's pace.

import { LorikeetError } from '../core/errors.ts';
import { mayTake, type Share } from '../core/share.ts';
import { DrainRate } from './drain-rate.ts';
import type { FlowLoad } from './flow-load.ts';

export type QueueLimits = {
  /**
   * Sequences, and prompt tokens, that one flow may have waiting while no other flow's wait; all together twice as
   * many.
   */
  readonly waitingRequests: number;
  readonly waitingTokens: number;
};

export type Asked = {
  readonly share: Share;
  readonly promptTokens: number;
  /** Most tokens that the sequence may generate. */
  readonly maxTokens: number;
  /** Milliseconds until the answer is no longer wanted; Infinity: never. */
  readonly timeoutMs: number;
  /** Sequences that the engines run at once. */
  readonly slots: number;
  readonly now: number;
};

/** Work done for a sequence, the milliseconds it took, and the rows that ran at its end, itself included. */
export type Done = {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly ms: number;
  readonly rows: number;
  /** The sequence ended by itself, so that its length also counts as an answer's. */
  readonly isWhole: boolean;
};

/** Weight of the newest sequence in the running means. */
const newest = 0.1;
/** Prompt tokens that are prefilled in the time of one generated token. */
const promptTokensOfOne = 8;
/**
 * Factor on the estimate, which is a mean: of sequences taken right at the mean half would finish late and be wasted
 * work.
 */
const margin = 1.25;
const secondsMax = 60;

export class AdmissionControl {
  readonly #limits: QueueLimits;
  readonly #drainRate = new DrainRate();
  /**
   * Milliseconds of the engine's time for one generated token, as if one sequence had the engine alone; 0 before the
   * first sequence has ended. Rows share the engine: a sequence waits this long for each of its own tokens, and for
   * each token of the rows beside it. A value learned from few rows is too high for many, since a batch is cheaper:
   * then fewer sequences are taken, and those bring the value nearer.
   */
  #msOfToken = 0;
  #known = 0;
  /** Mean number of generated tokens of an answer. */
  #tokens = 0;
  #whole = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** Notes that a sequence left the queue. @param since when it began to wait */
  started(now: number, since: number): void {
    this.#drainRate.started(now, since);
  }

  ended({ promptTokens, completionTokens, ms, rows, isWhole }: Done): void {
    if (isWhole) this.#tokens += Math.max(newest, 1 / ++this.#whole) * (completionTokens - this.#tokens);
    // A sequence without tokens may have waited for its adapter all the time.
    if (completionTokens === 0) return;
    const msOfToken = ms / workOf(promptTokens, completionTokens) / Math.max(1, rows);
    this.#msOfToken += Math.max(newest, 1 / ++this.#known) * (msOfToken - this.#msOfToken);
  }

  /**
   * Throws `server_overloaded`, with the seconds after which another try is worthwhile, where the sequence cannot be
   * taken.
   */
  assertRoom(load: FlowLoad, asked: Asked): void {
    const { share, promptTokens, timeoutMs, slots, now } = asked;
    const starts = load.startsBefore(share, slots);
    if (!this.#hasRoom(load, share, promptTokens, slots)) {
      const retryAfterSeconds = this.#drainRate.retryAfterSeconds(Math.max(1, starts - 1), now);
      throw new LorikeetError('server_overloaded', { retryAfterSeconds });
    }
    // An idle engine takes any sequence, whatever was learned under load: otherwise nothing would ever be learned
    // again.
    if (load.running + load.waiting === 0) return;
    const lateMs = margin * this.#readyInMs(load, starts, asked) - timeoutMs;
    if (lateMs <= 0) return;
    throw new LorikeetError('server_overloaded', {
      message: `The answer would not be ready within timeout_ms, which is ${timeoutMs}. Try again later.`,
      retryAfterSeconds: Math.min(Math.max(1, Math.ceil(lateMs / 1000)), secondsMax),
    });
  }

  #readyInMs(load: FlowLoad, starts: number, { promptTokens, maxTokens, slots, now }: Asked): number {
    // Where many sequences expire while they run, starts come faster than answers: the slots' capacity bounds both.
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
    // A flow that has nothing waiting may always add one long prompt: the context limits it, not the queue.
    const tokens = { places: 2 * waitingTokens, taken: load.waitingTokens, own: own.waitingTokens };
    return own.waiting === 0 || mayTake({ ...tokens, size: promptTokens });
  }
}

/** Measures work in generated tokens. */
const workOf = (promptTokens: number, completionTokens: number) => completionTokens + promptTokens / promptTokensOfOne;
