// The engine: one loop over schedule -> run -> sample -> emit. Knows token ids, rows and positions; knows no text, no
// HTTP and no process.

import type { Clock } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { GrammarThread } from '../../grammar/grammar-thread.ts';
import type {
  EngineEvent,
  EngineStats,
  MergeRequest,
  SequenceEnd,
  SequenceRequest,
  TokenEvent,
} from '../../protocol/messages.ts';
import type { AdapterStore } from '../adapters/adapter-store.ts';
import { PrefixChain } from '../kv/prefix-cache.ts';
import type { Merge } from '../merges/merge.ts';
import type { Merges } from '../merges/merges.ts';
import { mergedOrMixed, type StepKind } from '../policies/merged-or-mixed.ts';
import { roomAside } from '../policies/room-aside.ts';
import type { Processor } from '../policies/token-budget.ts';
import type { SampledLogits } from '../runner/compute.ts';
import type { Decoder } from '../runner/decoder.ts';
import { type BatchPart, sampledCount, tokenCount } from '../runner/forward-batch.ts';
import { openConstraint } from '../sampling/grammar-mask.ts';
import { AdapterDoor } from './adapter-door.ts';
import { causeOf, overflowOf, tooLate } from './causes.ts';
import { type Choice, chooseEach } from './choose.ts';
import { notePrompt } from './prompt-logprobs.ts';
import { type Chunk, type Run, Scheduler } from './scheduler.ts';
import { createSequence, endOf, ownTokens, prefillLeft, readsWholePrompt, type Sequence } from './sequence.ts';
import { Speculation, type SpeculationMode } from './speculation.ts';
import { StepCosts } from './step-costs.ts';
import { digestOfVirtual, rowsOfVirtual } from './virtual-tokens.ts';
import { weightsAndOwner } from './whose.ts';

export type EngineOptions = {
  readonly decoder: Decoder;
  readonly adapters: AdapterStore;
  readonly merges: Merges;
  /** For outputs that have a grammar; left out: they end with an error. */
  readonly grammars?: GrammarThread | null;
  /** Whether sequences whose adapter is merged run on the merge: where it is faster, or for measurements. */
  readonly onMerges?: 'auto' | 'always' | 'never';
  /** Whether few sequences compute ahead what may come; left out: never. A device's rows do not. */
  readonly speculation?: SpeculationMode | undefined;
  /** Memory of answers that later ones are guessed from; left out: none. */
  readonly pastTextBytes?: number | undefined;
  /** What the base computes without an adapter is known to all flows. */
  readonly sharesBasePrefixes?: boolean;
  /** Tokens of one step, of prompts and of answers. */
  readonly prefillChunk: number;
  /** Left out: every step takes all. */
  readonly processor?: Processor;
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
  readonly #speculation: Speculation;
  /** Those that expire. */
  readonly #timed = new Set<Sequence>();
  #aborted: Sequence[] = [];
  /** Asked back. */
  readonly #leaving = new Set<number>();
  #steps = 0;
  #stepMs = 0;
  #stepTokens = 0;
  #trainingShare = 0;
  /** Prompt tokens looked for among known prefixes, and found. */
  #queried = 0;
  #hit = 0;
  /** A sequence ended in the last step: what it held may let another one start. */
  #isFreed = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { kv, pages: pool } = options.decoder;
    const { adapters: store, merges, prefillChunk: budget, processor } = options;
    const prefersMerge = (sequence: Sequence) => this.#prefersMerge(sequence);
    this.#speculation = new Speculation(options.speculation ?? 'never', options.pastTextBytes ?? 0);
    this.#door = new AdapterDoor({ store, pool, merges, prefersMerge });
    this.#scheduler = new Scheduler({
      ...{ rows: kv.rows, lead: leadOfContext * kv.positions, budget, kv },
      ...(processor && { decodes: processor.decodes }),
      begin: (sequence) => this.#begin(sequence),
      // Until its grammar is compiled, or the beginning of its prompt is, a sequence holds nobody up.
      admit: (sequence) => (this.#isComing(sequence) ? 'wait' : this.#door.admit(sequence)),
      preempt: (sequence) => this.#preempt(sequence),
      pages: pool.slots,
      pagesOf: (sequence) => this.#door.pagesOf(sequence),
    });
  }

  get idle(): boolean {
    return this.#scheduler.idle && this.#aborted.length + this.#leaving.size === 0;
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

  /** Where it has not begun when the next step does, it is another engine's. An unknown id is no error. */
  release(id: number): void {
    this.#leaving.add(id);
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
    this.#stepTokens = 0;
    const ended = this.#takeAborted().map((sequence) => this.#end(sequence, endOf(sequence, 'abort', start)));
    ended.push(...this.#takeExpired(start));
    const released = this.#takeReleased();
    ended.push(...this.#fetchAdapters(start));

    const plan = this.#scheduler.schedule(start);
    const tokens: TokenEvent[] = [];
    const choices: Choice[] = [];
    for (const run of plan.runs) {
      if (run.result === 'hidden') ended.push(...(await this.#embed(run)));
      else choices.push(...(await this.#run(run)));
    }
    for (const choice of choices) {
      const end = this.#append(choice, tokens);
      if (end) ended.push(end);
    }

    const started = plan.started.map(({ request }) => request.id);
    const loads = [...adapters.takeLoads(), ...decoder.pages.takeLoads()];
    // A step that only found that adapters are still on their way is none.
    if (plan.runs.length + ended.length + released.length + loads.length === 0) return;
    this.#steps++;
    this.#stepMs = clock.monotonic() - start;
    const moves = [...adapters.takeMoves(), ...decoder.pages.takeMoves()];
    const back = released.length > 0 ? { released } : {};
    emit({ type: 'step', started, tokens, ended, ...back, loads, moves, stats: this.#stats() });
  }

  /** Something of its own is made just now: its grammar, or the beginning of its prompt by another. */
  #isComing(sequence: Sequence): boolean {
    if (sequence.constraint?.isReady === false) return true;
    const { prefixes } = this.#options.decoder.kv;
    if (prefixes === null || sequence.startedAt !== null || readsWholePrompt(sequence)) return false;
    return this.#scheduler.running.some(
      (other) => other.prefix !== null && computesBeginning(other, sequence, prefixes.blockTokens),
    );
  }

  /**
   * What was computed before of the same tokens with the same weights is not computed again, but for the last token.
   */
  #begin(sequence: Sequence): void {
    const { prefixes } = this.#options.decoder.kv;
    const { request, virtual, merge, tokens } = sequence;
    if (prefixes === null || readsWholePrompt(sequence)) return;
    const isFirst = sequence.prefix === null;
    if (sequence.prefix === null) {
      const { sharesBasePrefixes = false } = this.#options;
      const isBase = request.adapters.length === 0 && virtual === null;
      const owner = sharesBasePrefixes && isBase ? 'base' : `${sequence.line.flow}`;
      const root = [...weightsAndOwner(sequence, owner), merge?.bits ?? null];
      sequence.prefix = new PrefixChain(root, owner, tokens, request.promptTokens.length, prefixes.blockTokens);
    }
    sequence.computed = prefixes.begin(sequence.kvRow!, sequence.prefix, tokens.length - 1);
    if (!isFirst) return;
    sequence.cached = ownTokens(sequence, sequence.computed);
    this.#queried += ownTokens(sequence, request.promptTokens.length);
    this.#hit += sequence.cached;
  }

  /** What it has computed stays as long as nobody needs the room. */
  #preempt(sequence: Sequence): void {
    const { prefix, kvRow, computed } = sequence;
    if (prefix !== null) this.#options.decoder.kv.prefixes?.leave(kvRow!, prefix, computed);
    this.#door.preempt(sequence);
  }

  /** Its first `count` tokens are known from now on. */
  #keep({ prefix, kvRow }: Sequence, count: number): void {
    if (prefix !== null) this.#options.decoder.kv.prefixes?.keep(kvRow!, prefix, count);
  }

  /** Asks for the adapters of those that start next; ends those whose adapter cannot be had. */
  #fetchAdapters(now: number): SequenceEnd[] {
    const { waiting } = this.#scheduler;
    this.#door.prefetch(waiting.first(this.#options.decoder.kv.rows));
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

  /** Those that were asked back and have not begun. */
  #takeReleased(): number[] {
    const waiting = [...this.#leaving].flatMap((id) => this.#sequences.get(id) ?? []);
    this.#leaving.clear();
    const released = waiting.filter(({ startedAt }) => startedAt === null);
    for (const sequence of released) this.#remove(sequence);
    return released.map(({ request }) => request.id);
  }

  /** The next tokens of sequences on the same weights; choices for each that has no more. */
  async #run({ merge, chunks }: Run): Promise<Choice[]> {
    const { clock, decoder } = this.#options;
    const start = clock.monotonic();
    const kind = kindOf(merge, chunks);
    const drafts = chunks.map(({ sequence }) => this.#draft(sequence, kind));
    const parts = chunks.map((chunk, i) => this.#partOf(chunk, drafts[i]!));
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
      this.#speculation.observe(kind, parts.length, tokens, ms);
    }
    const whole: { sequence: Sequence; draft: readonly number[]; at: number }[] = [];
    let rows = 0;
    for (const [i, { sequence, count }] of chunks.entries()) {
      const { sampled } = parts[i]!;
      const first = rows;
      rows += sampled.length;
      const isPrompt = prefillLeft(sequence) > 0;
      sequence.computed += count;
      // An answer's keys and values have bits of their own, which serve a sequence that was preempted, and no prompt.
      this.#keep(sequence, Math.min(sequence.computed, sequence.request.promptTokens.length));
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
      const taken = this.#speculation.follow(first, whole[i]!.draft, logits, at[i]! + 1);
      // What was guessed right is computed; what is behind it is written anew.
      first.sequence.computed += taken.length - 1;
      return taken;
    });
  }

  /** The next tokens of sequences whose prompts become vectors, on the same weights; the ends of those that have. */
  async #embed({ merge, result, chunks }: Run): Promise<SequenceEnd[]> {
    const { clock, decoder } = this.#options;
    const parts = chunks.map((chunk) => this.#partOf(chunk, []));
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
      this.#keep(sequence, sequence.computed);
      if (sequence.computed < sequence.tokens.length) return [];
      sequence.firstTokenAt ??= now;
      const embedding = sequence.pool!.vector();
      const ended = embedding
        ? endOf(sequence, 'stop', now, { embedding })
        : endOf(sequence, 'error', now, { error: overflowOf(sequence) });
      return [this.#end(sequence, ended)];
    });
  }

  /** Virtual tokens that are keys and values are in their place after this; the rest is the decoder's. */
  #partOf(chunk: Chunk, draft: readonly number[]): BatchPart {
    const { computed, kvRow, virtual } = chunk.sequence;
    const rows = rowsOfVirtual(virtual);
    const isWritten = rows?.kind === 'keys and values' && computed < rows.count;
    const past = isWritten ? Math.min(rows.count, computed + chunk.count) : computed;
    if (isWritten) this.#options.decoder.kv.write!(kvRow!, computed, past, rows.values);
    return partOf(chunk, past, draft);
  }

  /** What is computed ahead of a sequence, which has room for it. */
  #draft(sequence: Sequence, kind: StepKind): readonly number[] {
    const { kv } = this.#options.decoder;
    const draft = this.#speculation.draft(sequence, kind, this.#scheduler.running.length, kv.positions);
    return draft.length > 0 && kv.reserve(sequence.kvRow!, sequence.tokens.length + draft.length) ? draft : [];
  }

  #append({ sequence, token, logprobs }: Choice, tokens: TokenEvent[]): SequenceEnd | null {
    const { id, params } = sequence.request;
    this.#scheduler.charge(sequence);
    const now = this.#options.clock.monotonic();
    if (token instanceof LorikeetError)
      return this.#end(sequence, endOf(sequence, 'error', now, { error: causeOf(token) }));
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
    this.#remove(sequence);
    return end;
  }

  #remove(sequence: Sequence): void {
    this.#sequences.delete(sequence.request.id);
    this.#timed.delete(sequence);
    this.#speculation.remember(sequence);
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
    const speculation = this.#speculation.stats;
    return {
      running: running.length,
      waiting: waiting.size,
      kvUsage: kv.usage,
      preemptions: this.#scheduler.preemptions,
      ...(kv.prefixes
        ? { prefixes: { queried: this.#queried, hit: this.#hit, bytes: kv.prefixes.blocks * kv.prefixes.blockBytes } }
        : {}),
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

  /** For tests and idle moments: throws where the books do not balance. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity();
    if (this.idle) this.#door.checkIntegrity();
    const { running, waiting } = this.#scheduler;
    // Those that were preempted keep their merge.
    this.#options.merges.checkIntegrity([...running, ...waiting].map(({ merge }) => merge));
    if (this.#sequences.size !== running.length + waiting.size) throw new Error('a sequence leaked');
  }
}

/**
 * The chunk as the decoder has it, and what is guessed behind it. Results are wanted of the last token and every guess,
 * and of the whole prompt where it is asked for.
 */
function partOf({ sequence, count }: Chunk, past: number, draft: readonly number[]): BatchPart {
  const { kvRow, adapter, virtual } = sequence;
  const tokens = draft.length > 0 ? [...sequence.tokens, ...draft] : sequence.tokens;
  const end = sequence.computed + count;
  const to = end + draft.length;
  const kind = prefillLeft(sequence) > 0 ? 'prompt' : 'answer';
  const isLast = end === sequence.tokens.length;
  const first =
    kind === 'prompt' && readsWholePrompt(sequence) ? Math.max(past, virtual?.count ?? 0) : isLast ? end - 1 : end;
  const sampled = Array.from({ length: Math.max(0, to - first) }, (_, i) => first + i);
  const rows = rowsOfVirtual(virtual);
  const given = rows?.kind === 'embeddings' && past < rows.count ? { given: rows } : {};
  const whole = kind === 'prompt' && sequence.promptLogprobs !== null ? { whole: true } : {};
  return { row: kvRow!, past, to, tokens, kind, sampled, adapter, ...given, ...whole };
}

/** Of a chunk that keys and values alone were written of a run takes nothing. */
const withTokens = (parts: readonly BatchPart[]): BatchPart[] => parts.filter(({ past, to }) => past < to);

const noLogits: SampledLogits = { rows: [], whole: async () => [] };

const kindOf = (merge: Merge | null, chunks: readonly Chunk[]): StepKind =>
  merge ? 'merged' : chunks.some(({ sequence }) => sequence.adapter !== null) ? 'mixed' : 'base';

/** Whether `other` prefills blocks, of so many tokens, that `sequence` could begin with. */
function computesBeginning(other: Sequence, { key, line, request, virtual }: Sequence, block: number): boolean {
  const [theirs, own] = [other.request, request];
  if (prefillLeft(other) === 0 || other.key !== key || theirs.cacheSalt !== own.cacheSalt) return false;
  if (other.line.flow !== line.flow || digestOfVirtual(other.virtual) !== digestOfVirtual(virtual)) return false;
  const longest = Math.min(theirs.promptTokens.length, own.promptTokens.length - 1);
  const differs = theirs.promptTokens.findIndex((token, i) => i >= longest || token !== own.promptTokens[i]);
  const common = differs === -1 ? longest : differs;
  return common - (common % block) > other.computed;
}
