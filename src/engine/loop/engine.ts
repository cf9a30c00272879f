// The engine: one loop over schedule -> run -> sample -> emit. Knows token ids, rows and positions; knows no text, no
// HTTP and no process.

import type { Clock } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { GrammarThread } from '../../grammar/grammar-thread.ts';
import type {
  EngineEvent,
  EngineStats,
  FinishReason,
  MergeRequest,
  SequenceEnd,
  SequenceRequest,
  TokenEvent,
} from '../../protocol/messages.ts';
import type { AdapterStore } from '../adapters/adapter-store.ts';
import type { Merge } from '../merges/merge.ts';
import type { Merges } from '../merges/merges.ts';
import type { Admission } from '../policies/admission.ts';
import { mergedOrMixed, type StepKind } from '../policies/merged-or-mixed.ts';
import { roomAside } from '../policies/room-aside.ts';
import type { Processor } from '../policies/token-budget.ts';
import type { SampledLogits } from '../runner/compute.ts';
import type { Decoder } from '../runner/decoder.ts';
import { sampledCount, tokenCount } from '../runner/forward-batch.ts';
import { openConstraint } from '../sampling/grammar-mask.ts';
import { AdapterDoor } from './adapter-door.ts';
import { partOf, withTokens } from './batch-parts.ts';
import { causeOf, overflowOf, tooLate } from './causes.ts';
import { type Choice, chooseEach } from './choose.ts';
import { Drafter, type SpeculationMode } from './drafter.ts';
import { notePrompt } from './prompt-logprobs.ts';
import { PromptPrefixes } from './prompt-prefixes.ts';
import { type Chunk, type Run, Scheduler } from './scheduler.ts';
import { createSequence, type EndDetail, endOf, prefillLeft, type Sequence } from './sequence.ts';
import { StepCosts } from './step-costs.ts';

export type EngineOptions = {
  readonly decoder: Decoder;
  readonly adapters: AdapterStore;
  readonly merges: Merges;
  /** Compiles the grammars of outputs; left out, requests with a grammar end with an error. */
  readonly grammars?: GrammarThread | null;
  /** Whether sequences whose adapter is merged run on the merge; `auto`, the default, where that is faster. */
  readonly onMerges?: 'auto' | 'always' | 'never';
  /** Whether steps of few sequences compute guessed tokens ahead; `never` by default. Rows on a device do not. */
  readonly speculation?: SpeculationMode | undefined;
  /** Bytes for past answers from which later ones are guessed; none by default. */
  readonly pastTextBytes?: number | undefined;
  /** Whether all flows share the KV prefixes that the base computes without an adapter. */
  readonly sharesBasePrefixes?: boolean;
  /** Tokens of one step, prompts and answers together. */
  readonly prefillChunk: number;
  /** Limits where prompts and answers have steps of their own; left out, a step takes every running sequence. */
  readonly processor?: Processor;
  readonly clock: Clock;
  /** Gives a seed to requests that bring none. */
  readonly freshSeed: () => number;
  readonly emit: (event: Extract<EngineEvent, { type: 'step' }>) => void;
};

/**
 * How far a flow may be ahead of another, in full contexts of tokens, and still take a row from it. Two let a burst of
 * prompts be read at once, and stay within the counters' own bound.
 */
const leadOfContext = 2;

export class Engine {
  readonly #options: EngineOptions;
  readonly #scheduler: Scheduler;
  readonly #door: AdapterDoor;
  readonly #sequences = new Map<number, Sequence>();
  readonly #costs = new StepCosts();
  readonly #drafter: Drafter;
  readonly #prefixes: PromptPrefixes;
  /** Sequences that have a deadline. */
  readonly #timed = new Set<Sequence>();
  #aborted: Sequence[] = [];
  /** Ids of sequences that the supervisor asked back. */
  readonly #leaving = new Set<number>();
  #steps = 0;
  #stepMs = 0;
  #stepTokens = 0;
  #trainingShare = 0;
  /** True if a sequence ended in the last step: what it held may let another one start. */
  #isFreed = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { kv, pages: pool } = options.decoder;
    const { adapters: store, merges, prefillChunk: budget, processor } = options;
    const prefersMerge = (sequence: Sequence) => this.#prefersMerge(sequence);
    this.#drafter = new Drafter(options.speculation ?? 'never', options.pastTextBytes ?? 0);
    this.#prefixes = new PromptPrefixes(kv.prefixes, options.sharesBasePrefixes ?? false);
    this.#door = new AdapterDoor({ store, pool, merges, prefersMerge });
    this.#scheduler = new Scheduler({
      ...{ rows: kv.rows, lead: leadOfContext * kv.positions, budget, kv },
      ...(processor && { decodes: processor.decodes }),
      begin: (sequence) => this.#prefixes.begin(sequence),
      admit: (sequence) => this.#admit(sequence),
      preempt: (sequence) => this.#preempt(sequence),
      pages: pool.slots,
      pagesOf: (sequence) => this.#door.pagesOf(sequence),
    });
  }

  get idle(): boolean {
    return this.#scheduler.idle && this.#aborted.length + this.#leaving.size === 0;
  }

  /** Whether any sequence has a row. */
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

  /** @param share of the time, while rows are free, for a process that computes while cores idle */
  leaveRoom(share: number): void {
    this.#trainingShare = share;
  }

  /**
   * Milliseconds to wait before the next step, for what computes beside the steps; mostly 0. Steps with prompts never
   * wait: they are the long ones.
   */
  get pauseMs(): number {
    const { running, waiting } = this.#scheduler;
    const prefills = waiting.size > 0 || running.some((sequence) => prefillLeft(sequence) > 0);
    if (running.length === 0 || prefills) return 0;
    const { decoder, processor } = this.#options;
    const { isWorkingAside: isMerging } = decoder;
    const rows = running.length;
    const slots = Math.min(decoder.kv.rows, processor?.full ?? Number.POSITIVE_INFINITY);
    const [stepMs, trainingShare] = [this.#stepMs, this.#trainingShare];
    return roomAside({ stepMs, rows, slots, isMerging, trainingShare });
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

  /** Leaves the sequence to another engine unless it has begun by the next step. An unknown id is no error. */
  release(id: number): void {
    this.#leaving.add(id);
  }

  /** Begins a merge; merge events tell what becomes of it. */
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
    this.#stepTokens = 0;
    const ended = this.#takeAborted().map((sequence) => this.#end(sequence, 'abort', start));
    ended.push(...this.#takeExpired(start));
    const released = this.#takeReleased();
    ended.push(...this.#fetchAdapters(start));

    const plan = this.#scheduler.schedule(start);
    const tokens: TokenEvent[] = [];
    const choices: Choice[] = [];
    for (const planned of plan.runs) {
      const run = await this.#withPages(planned, ended);
      if (run.chunks.length === 0) continue;
      if (run.result === 'hidden') ended.push(...(await this.#embed(run)));
      else choices.push(...(await this.#run(run)));
    }
    for (const choice of choices) {
      const end = this.#append(choice, tokens);
      if (end) ended.push(end);
    }

    const started = plan.started.map(({ request }) => request.id);
    const loads = [...adapters.takeLoads(), ...decoder.pages.takeLoads()];
    // A step that only found adapters still on their way does not count as a step.
    if (plan.runs.length + ended.length + released.length + loads.length === 0) return;
    this.#steps++;
    this.#stepMs = clock.monotonic() - start;
    const moves = [...adapters.takeMoves(), ...decoder.pages.takeMoves()];
    const back = released.length > 0 ? { released } : {};
    emit({ type: 'step', started, tokens, ended, ...back, loads, moves, stats: this.#stats() });
  }

  /** A sequence whose grammar, or the beginning of whose prompt, is still being made holds up no other. */
  #admit(sequence: Sequence): Admission {
    const isGrammarComing = sequence.constraint?.isReady === false;
    if (isGrammarComing || this.#prefixes.isComing(sequence, this.#scheduler.running)) return 'wait';
    return this.#door.admit(sequence);
  }

  #preempt(sequence: Sequence): void {
    this.#prefixes.leave(sequence);
    this.#door.preempt(sequence);
  }

  /** Asks for the adapters of the sequences that start next, and ends those whose adapter or grammar failed. */
  #fetchAdapters(now: number): SequenceEnd[] {
    const { waiting } = this.#scheduler;
    this.#door.prefetch(waiting.first(this.#options.decoder.kv.rows));
    return [...waiting].flatMap((sequence) => {
      const error = sequence.constraint?.error ?? this.#door.failure(sequence);
      return error === null ? [] : [this.#end(sequence, 'error', now, { error: causeOf(error) })];
    });
  }

  /** Aborted sequences, without those that ended by themselves in the step during which they were aborted. */
  #takeAborted(): Sequence[] {
    const aborted = this.#aborted.filter(({ request }) => this.#sequences.has(request.id));
    this.#aborted = [];
    return aborted;
  }

  /** Ends sequences whose deadline is over, before they take part in the step. */
  #takeExpired(now: number): SequenceEnd[] {
    const expired = [...this.#timed].filter(({ expiresAt }) => expiresAt <= now);
    return expired.map((sequence) => this.#end(sequence, 'error', now, { error: tooLate }));
  }

  /** Removes the sequences that were asked back and have not begun, and gives their ids. */
  #takeReleased(): number[] {
    const waiting = [...this.#leaving].flatMap((id) => this.#sequences.get(id) ?? []);
    this.#leaving.clear();
    const released = waiting.filter(({ startedAt }) => startedAt === null);
    for (const sequence of released) this.#remove(sequence);
    return released.map(({ request }) => request.id);
  }

  /** Waits for the pages of the run's sequences, and ends those whose pages could not be filled; gives the others. */
  async #withPages(run: Run, ended: SequenceEnd[]): Promise<Run> {
    if (run.chunks.every(({ sequence: { adapter } }) => adapter?.placement.isCopied ?? true)) return run;
    const chunks: Chunk[] = [];
    for (const chunk of run.chunks) {
      const failure = await this.#door.pagesFailure(chunk.sequence);
      if (failure === null) chunks.push(chunk);
      else ended.push(this.#end(chunk.sequence, 'error', this.#options.clock.monotonic(), { error: causeOf(failure) }));
    }
    return { ...run, chunks };
  }

  /** Computes the chunks of sequences on the same weights; gives choices for each whose tokens are all computed. */
  async #run({ merge, chunks }: Run): Promise<Choice[]> {
    const { clock, decoder } = this.#options;
    const start = clock.monotonic();
    const kind = kindOf(merge, chunks);
    const drafts = chunks.map(({ sequence }) => this.#draft(sequence, kind));
    const parts = chunks.map((chunk, i) => partOf(chunk, decoder.kv, drafts[i]));
    const temperatures = chunks.flatMap(({ sequence }, i) =>
      parts[i]!.sampled.map(() => sequence.request.params.temperature),
    );
    const run = { parts: withTokens(parts), merged: merge?.model ?? null };
    const tokens = tokenCount(run);
    this.#stepTokens += tokens;
    const logits = run.parts.length > 0 ? await decoder.logitsOf(run, temperatures) : noLogits;
    if (chunks.every(({ sequence, count }) => count === 1 && prefillLeft(sequence) === 0)) {
      const ms = clock.monotonic() - start;
      if (tokens === parts.length) this.#costs.observe(kind, parts.length, ms);
      this.#drafter.observe(kind, parts.length, tokens, ms);
    }
    const whole: { sequence: Sequence; draft: readonly number[]; at: number }[] = [];
    let rows = 0;
    for (const [i, { sequence, count }] of chunks.entries()) {
      const { sampled } = parts[i]!;
      const first = rows;
      rows += sampled.length;
      const isPrompt = prefillLeft(sequence) > 0;
      sequence.computed += count;
      // Registers only the prompt. An answer's keys and values are not bit for bit what a prompt would compute: they
      // serve the same sequence after a preemption, and no prompt.
      this.#prefixes.keep(sequence, Math.min(sequence.computed, sequence.request.promptTokens.length));
      if (sequence.promptLogprobs !== null && isPrompt) {
        notePrompt(sequence, sampled[0]!, logits.rows.slice(first, rows) as Float32Array[]);
      }
      if (sequence.computed < sequence.tokens.length) continue;
      const draft = drafts[i]!;
      whole.push({ sequence, draft, at: rows - 1 - draft.length });
    }
    const sequences = whole.map(({ sequence }) => sequence);
    const at = whole.map((one) => one.at);
    const choices = await chooseEach(sequences, logits, at);
    return choices.flatMap((first, i) => {
      const taken = this.#drafter.follow(first, whole[i]!.draft, logits, at[i]! + 1);
      // Rightly guessed tokens are computed already. Keys and values behind a wrong guess are overwritten later.
      first.sequence.computed += taken.length - 1;
      return taken;
    });
  }

  /** Computes chunks of prompts that become embeddings, on the same weights; gives the ends of complete ones. */
  async #embed({ merge, result, chunks }: Run): Promise<SequenceEnd[]> {
    const { clock, decoder } = this.#options;
    const parts = chunks.map((chunk) => partOf(chunk, decoder.kv));
    const run = { parts: withTokens(parts), merged: merge?.model ?? null, result };
    this.#stepTokens += tokenCount(run);
    const hidden = run.parts.length > 0 ? await decoder.forward(run) : new Float32Array();
    const width = hidden.length / Math.max(1, sampledCount({ parts }));
    const now = clock.monotonic();
    let at = 0;
    return chunks.flatMap(({ sequence, count }, i) => {
      const { sampled } = parts[i]!;
      const end = at + sampled.length * width;
      sequence.pool!.add(sampled, hidden.subarray(at, end));
      at = end;
      sequence.computed += count;
      this.#prefixes.keep(sequence, sequence.computed);
      if (sequence.computed < sequence.tokens.length) return [];
      sequence.firstTokenAt ??= now;
      const embedding = sequence.pool!.vector();
      return [
        embedding
          ? this.#end(sequence, 'stop', now, { embedding })
          : this.#end(sequence, 'error', now, { error: overflowOf(sequence) }),
      ];
    });
  }

  /** The guessed tokens to compute behind the sequence's last one; none where the KV cache has no room for them. */
  #draft(sequence: Sequence, kind: StepKind): readonly number[] {
    const { kv } = this.#options.decoder;
    const draft = this.#drafter.draft(sequence, kind, this.#scheduler.running.length, kv.positions);
    return draft.length > 0 && kv.reserve(sequence.kvRow!, sequence.tokens.length + draft.length) ? draft : [];
  }

  #append({ sequence, token, logprobs }: Choice, tokens: TokenEvent[]): SequenceEnd | null {
    const { id, params } = sequence.request;
    this.#scheduler.charge(sequence);
    const now = this.#options.clock.monotonic();
    if (token instanceof LorikeetError) return this.#end(sequence, 'error', now, { error: causeOf(token) });
    if (token === 'overflow') return this.#end(sequence, 'error', now, { error: overflowOf(sequence) });
    sequence.firstTokenAt ??= now;
    if (params.stopTokens.includes(token)) return this.#end(sequence, 'stop', now, { stopToken: token });
    sequence.tokens.push(token);
    tokens.push(logprobs ? { id, token, logprobs } : { id, token });
    const generated = sequence.tokens.length - sequence.request.promptTokens.length;
    const full = sequence.tokens.length > this.#options.decoder.kv.positions;
    if (generated < params.maxTokens && !full) return null;
    return this.#end(sequence, 'length', now);
  }

  #end(sequence: Sequence, reason: FinishReason, now: number, detail: EndDetail = {}): SequenceEnd {
    const end = endOf(sequence, reason, now, detail);
    this.#remove(sequence);
    return end;
  }

  #remove(sequence: Sequence): void {
    this.#sequences.delete(sequence.request.id);
    this.#timed.delete(sequence);
    this.#drafter.remember(sequence);
    this.#door.leave(sequence);
    sequence.constraint?.release();
    this.#scheduler.remove(sequence);
    this.#isFreed = true;
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
    const { stats: speculation } = this.#drafter;
    return {
      running: running.length,
      waiting: waiting.size,
      kvUsage: kv.usage,
      preemptions: this.#scheduler.preemptions,
      ...this.#prefixes.stats,
      ...(speculation ? { speculation } : {}),
      steps: this.#steps,
      stepMs: this.#stepMs,
      stepTokens: this.#stepTokens,
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

  /** Throws where the books do not balance. For tests and idle moments. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity();
    if (this.idle) this.#door.checkIntegrity();
    const { running, waiting } = this.#scheduler;
    // Waiting sequences count too: one that was preempted keeps its merge.
    this.#options.merges.checkIntegrity([...running, ...waiting].map(({ merge }) => merge));
    if (this.#sequences.size !== running.length + waiting.size) throw new Error('a sequence leaked');
  }
}

const noLogits: SampledLogits = { rows: [], whole: async () => [] };

const kindOf = (merge: Merge | null, chunks: readonly Chunk[]): StepKind =>
  merge ? 'merged' : chunks.some(({ sequence }) => sequence.adapter !== null) ? 'mixed' : 'base';
