// The engine: one loop over schedule -> run -> sample -> emit. Knows token ids, rows and positions; knows no text, no
// HTTP and no process.

import type { Clock } from '../core/clock.ts';
import { errorTable, LorikeetError } from '../core/errors.ts';
import type { GrammarThread } from '../grammar/grammar-thread.ts';
import { kvBlock } from '../graph/decoder.ts';
import type {
  EngineEvent,
  EngineStats,
  MergeRequest,
  SequenceEnd,
  SequenceRequest,
  TokenEvent,
} from '../protocol/messages.ts';
import { AdapterDoor } from './adapters/adapter-door.ts';
import type { AdapterStore } from './adapters/adapter-store.ts';
import { type Choice, choose, chooseEach } from './choose.ts';
import type { Decoder } from './decoder.ts';
import type { ForwardBatch } from './forward-batch.ts';
import { openConstraint } from './grammar-mask.ts';
import { PrefixChain } from './kv/prefix-cache.ts';
import type { Merges } from './merges/merges.ts';
import { mergedOrMixed } from './policies/merged-or-mixed.ts';
import { roomAside } from './policies/room-aside.ts';
import { everyOf, notePrompt } from './prompt-logprobs.ts';
import { type DecodeRange, Scheduler } from './scheduler.ts';
import { createSequence, endOf, prefillLeft, type Sequence } from './sequence.ts';
import { StepCosts } from './step-costs.ts';

export type EngineOptions = {
  readonly decoder: Decoder;
  readonly adapters: AdapterStore;
  readonly merges: Merges;
  /** For outputs that have a grammar; left out: they end with an error. */
  readonly grammars?: GrammarThread | null;
  /** Whether sequences whose adapter is merged run on the merge: where it is faster, or for measurements. */
  readonly onMerges?: 'auto' | 'always' | 'never';
  /** Groups of rows on the same weights that decode in one step; all by default: turns only let rows wait longer. */
  readonly groupsMax?: number;
  /** Sequences that run at once; the rest of the decoder's rows keeps those that are parked. Left out: all rows. */
  readonly slots?: number;
  /** What the base computes without an adapter is known to all flows. */
  readonly sharesBasePrefixes?: boolean;
  /** Prompt tokens prefilled in one step. */
  readonly prefillChunk: number;
  readonly clock: Clock;
  /** For requests that bring no seed. */
  readonly freshSeed: () => number;
  readonly emit: (event: Extract<EngineEvent, { type: 'step' }>) => void;
};

/**
 * A flow that has had so many contexts of tokens more than another may still take a row from it: enough for a burst of
 * prompts to be read at once, and no more than the counters' own bound.
 */
const leadOfContext = 2;

export class Engine {
  readonly #options: EngineOptions;
  readonly #scheduler: Scheduler;
  readonly #door: AdapterDoor;
  readonly #sequences = new Map<number, Sequence>();
  readonly #costs = new StepCosts();
  readonly #slots: number;
  /** Those that expire. */
  readonly #timed = new Set<Sequence>();
  #aborted: Sequence[] = [];
  #steps = 0;
  #stepMs = 0;
  #trainingShare = 0;
  /** Prompt tokens looked for among known prefixes, and found. */
  #queried = 0;
  #hit = 0;
  /** A sequence ended in the last step: what it held may let another one start. */
  #isFreed = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { kv, pages: pool } = options.decoder;
    const { adapters: store, merges, prefillChunk: prefillBudget, slots = kv.rows, groupsMax = slots } = options;
    this.#slots = slots;
    const prefersMerge = (sequence: Sequence) => this.#prefersMerge(sequence);
    this.#door = new AdapterDoor({ store, pool, merges, prefersMerge });
    this.#scheduler = new Scheduler({
      ...{ rows: slots, parkedRows: kv.rows - slots, lead: leadOfContext * kv.positions, prefillBudget, groupsMax },
      begin: (sequence, row) => this.#begin(sequence, row),
      moveRow: kv.move,
      swapRows: kv.swap,
      // Until its grammar is compiled, or the beginning of its prompt is, a sequence holds nobody up.
      admit: (sequence) => (this.#isComing(sequence) ? 'wait' : this.#door.admit(sequence)),
      park: (sequence) => this.#door.park(sequence),
      pages: pool.slots,
      pagesOf: (sequence) => this.#door.pagesOf(sequence),
    });
  }

  get idle(): boolean {
    return this.#scheduler.idle && this.#aborted.length === 0;
  }

  /** Rows run. */
  get serving(): boolean {
    return this.#scheduler.running.length > 0;
  }

  /**
   * True while the next step may have rows to run; otherwise only a command, or an adapter that arrives, brings work.
   */
  get busy(): boolean {
    const { waiting } = this.#scheduler;
    return this.serving || (this.#isFreed && waiting.size > 0);
  }

  /** @param share of the time while there is room, to a process that computes while cores idle */
  leaveRoom(share: number): void {
    this.#trainingShare = share;
  }

  /**
   * Milliseconds before the next step that belong to what is computed beside the steps; mostly 0. Prompts wait for
   * nothing: their steps are the long ones.
   */
  get pauseMs(): number {
    const { running, waiting } = this.#scheduler;
    const prefills = waiting.size > 0 || running.some((sequence) => prefillLeft(sequence) > 0);
    if (running.length === 0 || prefills) return 0;
    const { isWorkingAside: isMerging } = this.#options.decoder;
    const rows = running.length;
    const [stepMs, trainingShare] = [this.#stepMs, this.#trainingShare];
    return roomAside({ stepMs, rows, slots: this.#slots, isMerging, trainingShare });
  }

  add(request: SequenceRequest): void {
    const { clock, freshSeed, grammars = null } = this.#options;
    const constraint = openConstraint(grammars, request.grammar);
    const sequence = createSequence(request, clock.monotonic(), freshSeed, constraint);
    this.#sequences.set(request.id, sequence);
    if (request.timeoutMs !== undefined) this.#timed.add(sequence);
    this.#scheduler.add(sequence);
  }

  /** Takes effect at the start of the next step: the row may be in use until then. An unknown id is no error. */
  abort(id: number): void {
    const sequence = this.#sequences.get(id);
    if (sequence && !this.#aborted.includes(sequence)) this.#aborted.push(sequence);
  }

  /** What becomes of it is told by merge events. */
  merge(request: MergeRequest): void {
    this.#options.merges.merge(request);
  }

  unmerge(key: string): void {
    this.#options.merges.unmerge(key);
  }

  async step(): Promise<void> {
    const { adapters, clock, decoder, emit } = this.#options;
    const start = clock.monotonic();
    this.#isFreed = false;
    const ended = this.#takeAborted().map((sequence) => this.#end(sequence, endOf(sequence, 'abort', start)));
    ended.push(...this.#takeExpired(start));
    ended.push(...this.#fetchAdapters(start));

    const plan = this.#scheduler.schedule(start);
    const tokens: TokenEvent[] = [];
    const prefilled: Choice[] = [];
    for (const chunk of plan.prefill) prefilled.push(...(await this.#prefill(chunk.row, chunk.tokens)));
    const decoded: Choice[] = [];
    for (const range of plan.decode) decoded.push(...(await this.#decode(range)));
    this.#scheduler.promote();
    for (const choice of [...decoded, ...prefilled]) {
      const end = this.#append(choice, tokens);
      if (end) ended.push(end);
    }

    const started = plan.started.map(({ request }) => request.id);
    const loads = [...adapters.takeLoads(), ...decoder.pages.takeLoads()];
    // A step that only found that adapters are still on their way is none.
    if (decoded.length + plan.prefill.length + ended.length + loads.length === 0) return;
    this.#steps++;
    this.#stepMs = clock.monotonic() - start;
    const moves = [...adapters.takeMoves(), ...decoder.pages.takeMoves()];
    emit({ type: 'step', started, tokens, ended, loads, moves, stats: this.#stats() });
  }

  /** Something of its own is made just now: its grammar, or the beginning of its prompt by another. */
  #isComing(sequence: Sequence): boolean {
    if (sequence.constraint?.isReady === false) return true;
    if (this.#options.decoder.kv.prefixes === null || sequence.startedAt !== null) return false;
    if (sequence.request.promptLogprobs !== undefined) return false;
    return this.#scheduler.running.some((other) => other.prefix !== null && computesBeginning(other, sequence));
  }

  /** What an earlier prompt computed with the same weights is not computed again, but for the last token. */
  #begin(sequence: Sequence, row: number): void {
    const { prefixes } = this.#options.decoder.kv;
    const { request, merge } = sequence;
    // Whose prompt's log-probabilities are wanted needs the logits of all of it.
    if (prefixes === null || request.promptLogprobs !== undefined) return;
    const { sharesBasePrefixes = false } = this.#options;
    const owner = sharesBasePrefixes && request.adapters.length === 0 ? 'base' : `${sequence.line.flow}`;
    const root = [sequence.key, merge?.bits ?? null, owner, request.cacheSalt ?? null];
    sequence.prefix = new PrefixChain(root, owner, request.promptTokens);
    sequence.cached = prefixes.begin(row, sequence.prefix, request.promptTokens.length - 1);
    sequence.past = sequence.cached;
    this.#queried += request.promptTokens.length;
    this.#hit += sequence.cached;
  }

  /** Asks for the adapters of those that start next; ends those whose adapter cannot be had. */
  #fetchAdapters(now: number): SequenceEnd[] {
    const { waiting } = this.#scheduler;
    this.#door.prefetch(waiting.first(this.#slots));
    return [...waiting].flatMap((sequence) => {
      const error = sequence.constraint?.error ?? this.#door.failure(sequence);
      return error === null ? [] : [this.#end(sequence, endOf(sequence, 'error', now, { error: causeOf(error) }))];
    });
  }

  /** Those that did not end by themselves in the step during which they were aborted. */
  #takeAborted(): Sequence[] {
    const aborted = this.#aborted.filter(({ request }) => this.#sequences.has(request.id));
    this.#aborted = [];
    return aborted;
  }

  /** Those that nobody waits for any more: they take no part in the step. */
  #takeExpired(now: number): SequenceEnd[] {
    const expired = [...this.#timed].filter(({ expiresAt }) => expiresAt <= now);
    return expired.map((sequence) => this.#end(sequence, endOf(sequence, 'error', now, { error: tooLate })));
  }

  /** One token for each row of a group. */
  async #decode({ first, rows, merge }: DecodeRange): Promise<Choice[]> {
    const { clock, decoder } = this.#options;
    const { running } = this.#scheduler;
    const sequences = running.slice(first, first + rows);
    const start = clock.monotonic();
    const batch: ForwardBatch = {
      ...{ phase: 'decode', first },
      pasts: sequences.map(({ past }) => past),
      tokens: sequences.map(({ tokens, past }) => tokens[past]!),
      sampled: sequences.map((_, i) => i),
      adapters: sequences.map(({ row }) => row),
      merged: merge?.model ?? null,
    };
    const temperatures = sequences.map(({ request }) => request.params.temperature);
    const logits = await (decoder.forwardTop?.(batch, temperatures) ?? decoder.forward(batch));
    const kind = merge ? 'merged' : sequences.some(({ row }) => row !== null) ? 'mixed' : 'base';
    this.#costs.observe(kind, rows, clock.monotonic() - start);
    for (const sequence of sequences) sequence.past++;
    await masksOf(sequences);
    return await chooseEach(sequences, logits);
  }

  /** The next `count` prompt tokens of one row; a token only at the end of the prompt. */
  async #prefill(row: number, count: number): Promise<Choice[]> {
    const sequence = this.#scheduler.running[row]!;
    const { past, tokens, request } = sequence;
    const { decoder } = this.#options;
    // Where one token sums in another order than many, it is computed beside another: the one before it, again.
    const again = decoder.pairsTokens && past > 0 && (count === 1 || past === 1) ? 1 : 0;
    const logits = await decoder.forward({
      phase: 'prefill',
      first: row,
      pasts: [past - again],
      tokens: tokens.slice(past - again, past + count),
      sampled: sequence.promptLogprobs === null ? [again + count - 1] : everyOf(count, again),
      adapters: [sequence.row],
      merged: sequence.merge?.model ?? null,
    });
    sequence.past += count;
    if (sequence.prefix) this.#options.decoder.kv.prefixes?.keep(row, sequence.prefix, sequence.past);
    const last = logits.subarray(logits.length - this.#options.decoder.vocabulary);
    if (sequence.promptLogprobs !== null) notePrompt(sequence, logits, count);
    if (sequence.past < request.promptTokens.length) return [];
    await masksOf([sequence]);
    return [choose(sequence, last)];
  }

  #append({ sequence, token, logprobs }: Choice, tokens: TokenEvent[]): SequenceEnd | null {
    const { id, params } = sequence.request;
    this.#scheduler.charge(sequence);
    const now = this.#options.clock.monotonic();
    const failed = sequence.constraint?.error;
    if (failed) return this.#end(sequence, endOf(sequence, 'error', now, { error: causeOf(failed) }));
    if (token === 'overflow')
      return this.#end(sequence, endOf(sequence, 'error', now, { error: overflowOf(sequence) }));
    sequence.firstTokenAt ??= now;
    if (params.stopTokens.includes(token))
      return this.#end(sequence, endOf(sequence, 'stop', now, { stopToken: token }));
    sequence.tokens.push(token);
    tokens.push(logprobs ? { id, token, logprobs } : { id, token });
    const generated = sequence.tokens.length - sequence.request.promptTokens.length;
    const full = sequence.tokens.length > this.#options.decoder.kv.positions;
    if (generated < params.maxTokens && !full) return null;
    return this.#end(sequence, endOf(sequence, 'length', now));
  }

  #end(sequence: Sequence, end: SequenceEnd): SequenceEnd {
    this.#sequences.delete(sequence.request.id);
    this.#timed.delete(sequence);
    this.#door.leave(sequence);
    sequence.constraint?.release();
    this.#scheduler.remove(sequence);
    this.#isFreed = true;
    return end;
  }

  #prefersMerge({ key }: Sequence): boolean {
    const { onMerges = 'auto' } = this.#options;
    if (onMerges !== 'auto') return onMerges === 'always';
    const { running, waiting, room } = this.#scheduler;
    const crowd = [...running, ...waiting.first(room)];
    const others = crowd.filter((sequence) => sequence.key !== key && sequence.merge === null);
    const own = crowd.filter((sequence) => sequence.key === key).length;
    const othersAdapted = others.some(({ request }) => request.adapters.length > 0);
    return mergedOrMixed({ own, others: others.length, othersAdapted }, this.#costs.stepMs) === 'merged';
  }

  #stats(): EngineStats {
    const { running, waiting } = this.#scheduler;
    const { adapters: store, decoder } = this.#options;
    const { kv, pages } = decoder;
    const used = running.reduce((positions, { past }) => positions + past, 0);
    const kvUsage = used / (this.#slots * kv.positions);
    return {
      running: running.length,
      waiting: waiting.size,
      kvUsage,
      ...(kv.prefixes
        ? { prefixes: { queried: this.#queried, hit: this.#hit, bytes: kv.prefixes.blocks * kv.prefixes.blockBytes } }
        : {}),
      steps: this.#steps,
      stepMs: this.#stepMs,
      adapters: {
        resident: store.resident,
        residentBytes: store.residentBytes,
        pagesUsed: pages.used,
        pagesTotal: pages.slots,
        copiedBytes: pages.takeCopiedBytes(),
        evictions: store.evictions,
      },
      merges: this.#options.merges.stats,
    };
  }

  /** For tests and idle moments: throws where the books do not balance. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity();
    if (this.idle) this.#door.checkIntegrity();
    const { running, waiting } = this.#scheduler;
    // Those that are parked keep their merge.
    this.#options.merges.checkIntegrity([...running, ...waiting].map(({ merge }) => merge));
    if (this.#sequences.size !== running.length + waiting.size) throw new Error('a sequence leaked');
  }
}

/** Masks are computed while the step runs; what is left of that is waited for here. An error is its sequence's end. */
async function masksOf(sequences: readonly Sequence[]): Promise<void> {
  for (const { constraint } of sequences) if (constraint !== null) await constraint.ready.catch(() => {});
}

/** An adapter that spoils a row is its owner's: rows never compute with one another's. */
function overflowOf({ row, merge }: Sequence): NonNullable<SequenceEnd['error']> {
  if (row !== null || merge !== null) {
    const message = 'With this adapter the logits are not finite: its values are too large for the base model.';
    return { code: 'adapter_invalid', message };
  }
  return { code: 'logits_not_finite', message: errorTable.logits_not_finite.message };
}

/** Whether `other` prefills blocks that `sequence` could begin with. */
function computesBeginning(other: Sequence, { key, line, request }: Sequence): boolean {
  const [theirs, own] = [other.request, request];
  if (prefillLeft(other) === 0 || other.key !== key || theirs.cacheSalt !== own.cacheSalt) return false;
  if (other.line.flow !== line.flow) return false;
  const longest = Math.min(theirs.promptTokens.length, own.promptTokens.length - 1);
  const differs = theirs.promptTokens.findIndex((token, i) => i >= longest || token !== own.promptTokens[i]);
  const common = differs === -1 ? longest : differs;
  return common - (common % kvBlock) > other.past;
}

const tooLate: NonNullable<SequenceEnd['error']> = {
  code: 'deadline_exceeded',
  message: errorTable.deadline_exceeded.message,
};

/** An operating error keeps its code; any other is ours. */
function causeOf(error: Error): NonNullable<SequenceEnd['error']> {
  if (error instanceof LorikeetError) {
    const { code, message, param } = error;
    return { code, message, ...(code === 'adapter_corrupt' && param !== null ? { digest: param } : {}) };
  }
  console.error(error);
  return { code: 'internal_error', message: 'The adapter could not be loaded.' };
}
