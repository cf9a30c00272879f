// Decides who runs in the next step, and with how many tokens. A running sequence has a KV row. Each of its tokens that
// is not computed is work: one token while it decodes, more while its prompt, or what a preemption threw away, is read.
// All that is chosen under one budget of tokens runs together, on the base's weights or on a merge's.
//
// Where the KV cache or its rows run out, a sequence is preempted: it gives up its row and its blocks, waits before all
// others of its flow, and is computed anew as far as no known prefix holds it. The computation gives the same bits, so
// the text goes on unchanged. This module knows sequences and rows; it knows no weights, and no time but what it is
// given.

import type { DecoderResult } from '../../graph/adapted-linear.ts';
import type { KvCache } from '../kv/kv-cache.ts';
import type { Merge } from '../merges/merge.ts';
import { type Admission, admitWaiting } from '../policies/admission.ts';
import { FairQueue } from '../policies/fair-queue.ts';
import { hasRightTo, pageGiver } from '../policies/page-shares.ts';
import { hasPatience, inTurn, promptsNext, shareTokens } from '../policies/token-budget.ts';
import { flowRows, noGivers, pageHolders, type RowGivers, rowGivers } from './givers.ts';
import { prefillLeft, type Sequence, tokensLeft } from './sequence.ts';

/** The next `count` tokens of a sequence, either of its prompt or of its answer. */
export type Chunk = { readonly sequence: Sequence; readonly count: number };

/** Sequences on the same weights that want the same kind of result; those that are past their prompt come first. */
export type Run = {
  readonly merge: Merge | null;
  readonly result: DecoderResult;
  readonly chunks: readonly Chunk[];
};

export type Plan = {
  /** Sequences that left the queue for the first time in this step. */
  readonly started: readonly Sequence[];
  readonly runs: readonly Run[];
};

export type SchedulerOptions = {
  /** Sequences that can run at once. */
  readonly rows: number;
  /** Virtual tokens by which a flow may be ahead of another and still take a row from it. */
  readonly lead: number;
  /** Tokens of one step. */
  readonly budget: number;
  /**
   * Most sequences that decode in one step, where prompts and answers have steps of their own; more take turns. Left
   * out, every step takes all sequences.
   */
  readonly decodes?: number;
  /** The KV cache. */
  readonly kv: Pick<KvCache, 'hasRoom' | 'reserve' | 'clear'>;
  /** Called when a sequence has got an empty row; may set its count of computed tokens. */
  readonly begin: (sequence: Sequence) => void;
  /** Whether a sequence can start now; `start` means that it holds what it needs from then on. */
  readonly admit: (sequence: Sequence) => Admission;
  /** Releases what the sequence needs to run but not to wait; its row is cleared after this. */
  readonly preempt: (sequence: Sequence) => void;
  /**
   * Pages of each linear's pool. `pagesOf` gives those that a sequence takes, or would take; sequences of one key share
   * theirs.
   */
  readonly pages: number;
  readonly pagesOf: (sequence: Sequence) => { readonly key: string; readonly pages: number } | null;
};

/** Service for a generated token, in units of a prompt token, as in the paper on virtual token counters. */
const outputCost = 2;

/**
 * How many sequences may overtake one whose pages others hold: `overtakenMax`, or this many for each row if that is
 * less.
 */
const overtakenMax = 64;
const overtakenMaxPerRow = 4;

export class Scheduler {
  readonly waiting: FairQueue<Sequence>;
  /** In the order in which they got their rows. */
  readonly running: Sequence[] = [];
  /** Preemptions since the start. */
  preemptions = 0;
  #steps = 0;
  /** Prompt tokens read since a step last computed answers. */
  #promptTokens = 0;
  readonly #freeRows: number[];
  readonly #options: SchedulerOptions;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    // A sequence is charged for its prompt once, at its first start.
    this.waiting = new FairQueue(
      ({ line }) => line,
      ({ request, startedAt }) => (startedAt === null ? request.promptTokens.length : 0),
    );
    this.#freeRows = Array.from({ length: options.rows }, (_, i) => options.rows - 1 - i);
  }

  get idle(): boolean {
    return this.waiting.size === 0 && this.running.length === 0;
  }

  /** Free rows: so many of the queue's first may start next. */
  get room(): number {
    return this.#freeRows.length;
  }

  add(sequence: Sequence): void {
    this.waiting.add(sequence);
  }

  /** Charges the sequence's flow for one generated token. */
  charge(sequence: Sequence): void {
    this.waiting.charge(sequence, outputCost);
  }

  schedule(now: number): Plan {
    const started = this.#admit(now);
    const chunks = this.#chunks(now);
    // `started` keeps a sequence that is preempted in the very step in which it starts.
    const groups = Map.groupBy(chunks, ({ sequence }) => sequence.merge);
    const answersFirst = (chunks: readonly Chunk[]) =>
      [...chunks].sort((a, b) => Number(prefillLeft(a.sequence) > 0) - Number(prefillLeft(b.sequence) > 0));
    const runs = [...groups].flatMap(([merge, together]) => {
      const results = Map.groupBy(together, ({ sequence }): DecoderResult => (sequence.pool ? 'hidden' : 'logits'));
      return [...results].map(([result, chunks]) => ({ merge, result, chunks: answersFirst(chunks) }));
    });
    return { started, runs };
  }

  /**
   * The tokens that each sequence computes in this step. Where the KV cache is full, the sequences last in right are
   * preempted.
   */
  #chunks(now: number): Chunk[] {
    this.#steps++;
    const order = this.#nextOf(this.#byRight(), now);
    const shares = shareTokens(order.map(tokensLeft), this.#options.budget);
    const chunks: Chunk[] = [];
    for (const [i, sequence] of order.entries()) {
      const count = shares[i]!;
      if (count === 0 || sequence.kvRow === null) continue;
      while (!this.#options.kv.reserve(sequence.kvRow, sequence.computed + count)) {
        const last = this.#byRight().at(-1)!;
        this.preempt(last);
        if (last === sequence) break;
      }
      if (sequence.kvRow === null) continue;
      sequence.turn = this.#steps;
      chunks.push({ sequence, count });
    }
    return chunks;
  }

  /** The sequences that take part in this step. */
  #nextOf(order: readonly Sequence[], now: number): readonly Sequence[] {
    const { budget, decodes } = this.#options;
    if (decodes === undefined) return order;
    const answers = order.filter((sequence) => prefillLeft(sequence) === 0);
    if (answers.length === 0) this.#promptTokens = 0;
    // Whether sequences wait for rows, and there are answers to compute meanwhile.
    const isBusy = answers.length > 0 && this.waiting.size > 0;
    const prompts = this.running.flatMap((sequence) => {
      const [left, { queuedAt, startedAt }] = [prefillLeft(sequence), sequence];
      const canWait = isBusy && hasPatience({ queuedAt, startedAt: startedAt! }, now);
      return left > 0 ? [{ sequence, left, canWait }] : [];
    });
    const { next, since } = promptsNext(prompts, budget, this.#promptTokens);
    this.#promptTokens = since;
    if (next.length === 0) return this.#inTurn(answers, Math.min(decodes, budget));
    return next.map(({ sequence }) => sequence);
  }

  /** Drops the sequences that decode and whose turn it is not. */
  #inTurn(answers: readonly Sequence[], most: number): readonly Sequence[] {
    const decoding = answers.filter((sequence) => tokensLeft(sequence) === 1);
    if (decoding.length <= most) return answers;
    const asked = decoding.map((sequence) => {
      const { line, turn } = sequence;
      return { sequence, counter: this.waiting.counter(line.flow), turn };
    });
    const chosen = new Set(inTurn(asked, most).map(({ sequence }) => sequence));
    return answers.filter((sequence) => tokensLeft(sequence) !== 1 || chosen.has(sequence));
  }

  /** Running sequences: those of the least served flow first, and within a flow the oldest first. */
  #byRight(): Sequence[] {
    const counters = new Map<number, number>();
    for (const { line } of this.running) counters.set(line.flow, this.waiting.counter(line.flow));
    return [...this.running].sort(
      (a, b) => counters.get(a.line.flow)! - counters.get(b.line.flow)! || a.startedAt! - b.startedAt!,
    );
  }

  #admit(now: number): Sequence[] {
    const { rows, lead, admit } = this.#options;
    const started: Sequence[] = [];
    const young = new Set<Sequence>();
    /**
     * Who gives a row to each flow, and which flows have prompts enough; both valid until a sequence starts or is
     * preempted.
     */
    let givers: RowGivers | null = null;
    let hasPromptsEnough: ((flow: number) => boolean) | null = null;
    const changed = () => {
      givers = null;
      hasPromptsEnough = null;
    };
    // A free row means that the KV cache ran out first: then the rows to share are those that run.
    const giversNow = () => rowGivers(this, { rows: this.room > 0 ? this.running.length : rows, lead, young });
    /**
     * Whether a blocked sequence has a right to pages. Cached for the step, since each pair of a blocked and another
     * one asks.
     */
    const rights = new Map<Sequence, boolean>();
    const hasRight = (blocked: Sequence) => {
      const right = rights.get(blocked) ?? this.#hasRightToPages(blocked);
      rights.set(blocked, right);
      return right;
    };
    admitWaiting(this.waiting.inOrder(), {
      overtakenMax: Math.min(overtakenMax, overtakenMaxPerRow * rows),
      // Holds up another flow's sequences only where it has a right to its pages: a flow above its share waits for
      // itself.
      holdsUp: (blocked, { line }) => blocked.line.flow === line.flow || hasRight(blocked),
      room: (sequence) => {
        hasPromptsEnough ??= this.#promptsEnough();
        if (hasPromptsEnough(sequence.line.flow)) return 'no';
        if (this.#hasRoomFor(sequence)) return 'yes';
        if (rows === 1) return 'never';
        givers ??= giversNow();
        if (givers === noGivers) return 'never';
        return givers(sequence) === null ? 'no' : 'yes';
      },
      admit: (sequence) => {
        const admission = admit(sequence);
        if (admission !== 'blocked' || !this.#freePages(sequence, givers?.(sequence) ?? null, young)) return admission;
        changed();
        return admit(sequence);
      },
      start: (sequence) => {
        while (!this.#hasRoomFor(sequence)) {
          const giver = (givers ?? giversNow())(sequence);
          givers = null;
          // Without a giver it starts in its free row, and others are preempted when it needs their blocks.
          if (giver === null) break;
          this.preempt(giver);
        }
        if (sequence.startedAt === null) started.push(sequence);
        this.#start(sequence, now);
        changed();
        young.add(sequence);
      },
    });
    return started;
  }

  /**
   * Preempts sequences of flows that have more than their share of the pages, until this one finds its own.
   * @param giver the sequence that gives up its row to this one; preempted in any case
   * @returns whether any sequence was preempted
   */
  #freePages(sequence: Sequence, giver: Sequence | null, young: ReadonlySet<Sequence>): boolean {
    const { pages, pagesOf } = this.#options;
    const needed = pagesOf(sequence)?.pages;
    if (needed === undefined || sequence.hasAskedForPages || this.#options.rows === 1) return false;
    sequence.hasAskedForPages = true;
    const before = this.preemptions;
    if (giver && !this.#hasRoomFor(sequence)) this.preempt(giver);
    const flows = flowRows(this);
    const taker = { flow: sequence.line.flow, needed };
    for (;;) {
      const holder = pageGiver(pageHolders(this.running, pagesOf), flows, taker, pages);
      const rows = holder?.sequences ?? [];
      if (rows.length === 0 || rows.some((row) => young.has(row))) break;
      for (const row of rows) this.preempt(row);
    }
    return this.preemptions > before;
  }

  /**
   * Where more sequences run than decode in one step, a flow starts prompts only up to one step's budget. Further ones
   * would wait for their tokens all the same, but outside the queue, where flows take turns by their service.
   * @returns a test whether a flow has that many, as sequences run now
   */
  #promptsEnough(): (flow: number) => boolean {
    const { budget, decodes } = this.#options;
    if (decodes === undefined || this.running.length < decodes) return () => false;
    const tokens = new Map<number, number>();
    for (const sequence of this.running) {
      const { flow } = sequence.line;
      if (prefillLeft(sequence) > 0) tokens.set(flow, (tokens.get(flow) ?? 0) + tokensLeft(sequence));
    }
    return (flow) => (tokens.get(flow) ?? 0) >= budget;
  }

  /** Whether a row is free and the KV cache has blocks for the sequence, beside some for each that runs. */
  #hasRoomFor({ tokens }: Sequence): boolean {
    if (this.#freeRows.length === 0) return false;
    return this.running.length === 0 || this.#options.kv.hasRoom(tokens.length + 1, this.running.length);
  }

  #hasRightToPages(sequence: Sequence): boolean {
    const { pages, pagesOf } = this.#options;
    const needed = pagesOf(sequence)?.pages ?? 0;
    const taker = { flow: sequence.line.flow, needed };
    return hasRightTo(pageHolders(this.running, pagesOf), flowRows(this), taker, pages);
  }

  #start(sequence: Sequence, now: number): void {
    this.waiting.delete(sequence);
    sequence.hasAskedForPages = false;
    if (sequence.startedAt === null) this.waiting.charge(sequence, sequence.request.promptTokens.length);
    sequence.startedAt ??= now;
    sequence.kvRow = this.#freeRows.pop()!;
    this.running.push(sequence);
    this.#options.begin(sequence);
  }

  /** Takes row and blocks from a running sequence, which waits again. */
  preempt(sequence: Sequence): void {
    this.#options.preempt(sequence);
    this.#free(sequence);
    sequence.computed = 0;
    this.preemptions++;
    this.waiting.add(sequence, true);
  }

  /** Removes a sequence, waiting or running. */
  remove(sequence: Sequence): void {
    if (!this.waiting.delete(sequence)) this.#free(sequence);
  }

  #free(sequence: Sequence): void {
    const at = this.running.indexOf(sequence);
    if (at < 0) throw new Error('the sequence neither waits nor runs');
    this.running.splice(at, 1);
    this.#options.kv.clear(sequence.kvRow!);
    this.#freeRows.push(sequence.kvRow!);
    sequence.kvRow = null;
  }

  /** Throws unless every row is free or held by one sequence. For tests and idle moments. */
  checkIntegrity(): void {
    const { rows } = this.#options;
    this.waiting.checkIntegrity();
    const taken = this.running.map(({ kvRow }) => kvRow);
    if (taken.includes(null)) throw new Error('a sequence runs without a row');
    if (new Set([...this.#freeRows, ...taken]).size !== rows || this.#freeRows.length + taken.length !== rows) {
      throw new Error('a row is lost, or taken twice');
    }
    if ([...this.waiting].some(({ kvRow, computed }) => kvRow !== null || computed > 0)) {
      throw new Error('a sequence waits and has keys and values');
    }
    if (this.running.some(({ tokens, computed }) => computed >= tokens.length))
      throw new Error('a sequence has no work');
    if (new Set([...this.running, ...this.waiting]).size !== this.running.length + this.waiting.size) {
      throw new Error('a sequence is there twice');
    }
  }
}
