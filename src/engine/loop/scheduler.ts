// Who runs in the next step, and with how many tokens. A sequence that runs has a KV row; whatever of its tokens is not
// computed is work: one token where it decodes, more of a prompt, or of what was thrown away. All that is chosen under
// one budget of tokens runs together, on the base's weights or on a merge's.
//
// Where keys and values, or rows, run out, a sequence is preempted: it gives its row and its room, waits again before
// all others of its flow, and is computed anew as far as no known prefix holds it. That gives the same bits, so it
// goes on with the very same text. Knows sequences and rows; knows no weights, and no time but what it is given.

import type { DecoderResult } from '../../graph/adapted-linear.ts';
import type { KvCache } from '../kv/kv-cache.ts';
import type { Merge } from '../merges/merge.ts';
import { type Admission, admitWaiting } from '../policies/admission.ts';
import { FairQueue } from '../policies/fair-queue.ts';
import { hasRightTo, pageGiver } from '../policies/page-shares.ts';
import { hasPatience, inTurn, promptsNext, shareTokens } from '../policies/token-budget.ts';
import { flowRows, noGivers, pageHolders, type RowGivers, rowGivers } from './givers.ts';
import { prefillLeft, type Sequence, tokensLeft } from './sequence.ts';

/** The next `count` tokens of a sequence, of its prompt or of its answer. */
export type Chunk = { readonly sequence: Sequence; readonly count: number };

/** Sequences on the same weights of which the same is wanted, those first that are past their prompt. */
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
  /** Sequences that run at once. */
  readonly rows: number;
  /** Virtual tokens by which a flow may be ahead of another and still take a row from it. */
  readonly lead: number;
  /** Tokens of a step. */
  readonly budget: number;
  /**
   * Where prompts and answers have steps of their own: sequences that decode in one, within the budget; more take
   * turns. Left out: every step takes all.
   */
  readonly decodes?: number;
  /** Keys and values. */
  readonly kv: Pick<KvCache, 'hasRoom' | 'reserve' | 'clear'>;
  /** A sequence has an empty row from now on; it may say that some of its tokens are computed. */
  readonly begin: (sequence: Sequence) => void;
  /** Whether a sequence can start now; what it needs is its own from then on. */
  readonly admit: (sequence: Sequence) => Admission;
  /** What it needs to run, and not to wait, is others' again; its row is cleared after this. */
  readonly preempt: (sequence: Sequence) => void;
  /** Pages there are, and those that a sequence takes, or would take; sequences of one key share theirs. */
  readonly pages: number;
  readonly pagesOf: (sequence: Sequence) => { readonly key: string; readonly pages: number } | null;
};

/** Service in units of a prompt's token, as in the paper on virtual token counters: a generated one is dearer. */
const outputCost = 2;

/** A sequence whose pages others hold is overtaken by so many, or by this many for each row where there are few. */
const overtakenMax = 64;
const overtakenMaxPerRow = 4;

export class Scheduler {
  readonly waiting: FairQueue<Sequence>;
  /** In the order in which they got their rows. */
  readonly running: Sequence[] = [];
  /** Sequences that were preempted since the beginning. */
  preemptions = 0;
  #steps = 0;
  /** Tokens of prompts that were read since answers were computed last. */
  #promptTokens = 0;
  readonly #freeRows: number[];
  readonly #options: SchedulerOptions;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    // What was charged once is not charged again.
    this.waiting = new FairQueue(
      ({ line }) => line,
      ({ request, startedAt }) => (startedAt === null ? request.promptTokens.length : 0),
    );
    this.#freeRows = Array.from({ length: options.rows }, (_, i) => options.rows - 1 - i);
  }

  get idle(): boolean {
    return this.waiting.size === 0 && this.running.length === 0;
  }

  /** Rows that are free; as many of the queue's first may start next. */
  get room(): number {
    return this.#freeRows.length;
  }

  add(sequence: Sequence): void {
    this.waiting.add(sequence);
  }

  /** One token more was generated for it. */
  charge(sequence: Sequence): void {
    this.waiting.charge(sequence, outputCost);
  }

  schedule(now: number): Plan {
    const started = this.#admit(now);
    const chunks = this.#chunks(now);
    // What is preempted in the step in which it starts has started all the same.
    const groups = Map.groupBy(chunks, ({ sequence }) => sequence.merge);
    const answersFirst = (chunks: readonly Chunk[]) =>
      [...chunks].sort((a, b) => Number(prefillLeft(a.sequence) > 0) - Number(prefillLeft(b.sequence) > 0));
    const runs = [...groups].flatMap(([merge, together]) => {
      const results = Map.groupBy(together, ({ sequence }): DecoderResult => (sequence.pool ? 'hidden' : 'logits'));
      return [...results].map(([result, chunks]) => ({ merge, result, chunks: answersFirst(chunks) }));
    });
    return { started, runs };
  }

  /** What each sequence takes, and has room for. The least entitled give way where there is no more. */
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

  /** Those whose turn the step is. */
  #nextOf(order: readonly Sequence[], now: number): readonly Sequence[] {
    const { budget, decodes } = this.#options;
    if (decodes === undefined) return order;
    const answers = order.filter((sequence) => prefillLeft(sequence) === 0);
    if (answers.length === 0) this.#promptTokens = 0;
    // Where others wait for rows, and answers can be computed meanwhile.
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

  /** Without those that decode and whose turn it is not. */
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

  /** Running sequences, those of the flow that was served least and of each flow the oldest first. */
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
    /** As long as nobody starts or gives way: who gives a row to each flow, and whether one has prompts enough. */
    let givers: RowGivers | null = null;
    let hasPromptsEnough: ((flow: number) => boolean) | null = null;
    const changed = () => {
      givers = null;
      hasPromptsEnough = null;
    };
    // Where room runs out first, there are no more rows than those that run.
    const giversNow = () => rowGivers(this, { rows: this.room > 0 ? this.running.length : rows, lead, young });
    /** Asked for every pair of a blocked and another one: worked out once for each, as the step found it. */
    const rights = new Map<Sequence, boolean>();
    const hasRight = (blocked: Sequence) => {
      const right = rights.get(blocked) ?? this.#hasRightToPages(blocked);
      rights.set(blocked, right);
      return right;
    };
    admitWaiting(this.waiting.inOrder(), {
      overtakenMax: Math.min(overtakenMax, overtakenMaxPerRow * rows),
      // Another flow's only where pages are its right: one that is above its share waits for itself.
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
          // It has a row then, and others give way as it needs their room.
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
   * @param giver of its row, who goes in any case
   * @returns whether anybody was
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
   * Where more sequences run than decode in one step, a flow starts prompts only for the step: the others would wait
   * for their tokens all the same, but not in the queue, where flows take turns by what they were served.
   * @returns whether a flow has those, as sequences run now
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

  /** A row, and room for its tokens beside some for each that runs. */
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

  /** Takes a running sequence's row and room: it waits again. */
  preempt(sequence: Sequence): void {
    this.#options.preempt(sequence);
    this.#free(sequence);
    sequence.computed = 0;
    this.preemptions++;
    this.waiting.add(sequence, true);
  }

  /** Takes a sequence out, waiting or running. */
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

  /** Every row is free or one sequence's. For tests and idle moments. */
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
