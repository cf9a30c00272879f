// Records the sequences that the server has given to its engines, and the state of each. Pure bookkeeping: no process,
// no timer. Every sequence leaves the book exactly once, through `end`, and nothing reaches its listener after that.

import type { ErrorCode } from '../core/errors.ts';
import { commonShare, type Share } from '../core/share.ts';
import type { SequenceListener } from './engine-client.ts';
import type { EngineLoad } from './engine-load.ts';
import { FlowLoad } from './flow-load.ts';
import type { SequenceEnd, SequenceRequest, TokenEvent } from './messages.ts';

/** `held`: no engine has it yet; `sent`: it waits in the engine; `running`: it has a slot. */
export type SequenceState = 'held' | 'sent' | 'running';

type Entry = {
  readonly sequence: SequenceRequest;
  readonly listener: SequenceListener;
  readonly submittedAt: number;
  state: SequenceState;
  /** Load of the engine that has the sequence; null while it is held. */
  engine: EngineLoad | null;
  /** The engine was asked to release the sequence. */
  isReleasing: boolean;
  startedAt: number | null;
  firstTokenAt: number | null;
  tokens: number;
  aborted: boolean;
  /** The sequence waited in an engine that died. The next such death ends it. */
  replayed: boolean;
};

export type Failure = { readonly code: ErrorCode; readonly message: string };

export class SequenceBook {
  readonly #entries = new Map<number, Entry>();
  readonly #onListenerError: (error: unknown) => void;
  /** Load of all engines together, by flow. */
  readonly load = new FlowLoad();
  #nextId = 1;
  #releasing = 0;

  /** @param onListenerError gets errors of listeners: one request's faulty listener must not stop the others */
  constructor(onListenerError: (error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  get size(): number {
    return this.#entries.size;
  }

  get running(): number {
    return this.load.running;
  }

  get waiting(): number {
    return this.load.waiting;
  }

  /** Sequences that this engine has started and not ended. */
  begun(engine: EngineLoad): SequenceRequest[] {
    const all = [...this.#entries.values()];
    return all.filter((one) => one.engine === engine && one.state === 'running').map(({ sequence }) => sequence);
  }

  /** Sequences that wait in this engine without a request for release, in order of submission. */
  *waitingIn(engine: EngineLoad): Generator<SequenceRequest> {
    for (const { sequence, state, engine: at, isReleasing } of this.#entries.values()) {
      if (at === engine && state === 'sent' && !isReleasing) yield sequence;
    }
  }

  /** Number of sequences that wait in an engine which was asked to release them. */
  get releasing(): number {
    return this.#releasing;
  }

  /** Ids in order of submission, of all sequences or of those in `state`. */
  ids(state?: SequenceState): number[] {
    const entries = [...this.#entries];
    return entries.filter(([, entry]) => state === undefined || entry.state === state).map(([id]) => id);
  }

  add(sequence: Omit<SequenceRequest, 'id'>, listener: SequenceListener, now: number): number {
    const id = this.#nextId++;
    this.#entries.set(id, {
      sequence: { ...sequence, id },
      listener,
      submittedAt: now,
      state: 'held',
      engine: null,
      isReleasing: false,
      startedAt: null,
      firstTokenAt: null,
      tokens: 0,
      aborted: false,
      replayed: false,
    });
    this.load.waits(shareOf(sequence), sequence.promptTokens.length);
    return id;
  }

  state(id: number): SequenceState | null {
    return this.#entries.get(id)?.state ?? null;
  }

  /** Tokens of a running sequence so far; null where it does not run. */
  progress(id: number): { startedAt: number; promptTokens: number; completionTokens: number } | null {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.startedAt === null) return null;
    const { startedAt, tokens, sequence } = entry;
    return { startedAt, promptTokens: sequence.promptTokens.length, completionTokens: tokens };
  }

  sequence(id: number): SequenceRequest {
    return this.#entries.get(id)!.sequence;
  }

  /** Load of the engine that has the sequence; null where none has. */
  engineOf(id: number): EngineLoad | null {
    return this.#entries.get(id)?.engine ?? null;
  }

  /** Marks a held sequence as given to an engine. */
  take(id: number, engine: EngineLoad, now: number): SequenceRequest {
    const entry = this.#entries.get(id)!;
    entry.state = 'sent';
    entry.engine = engine;
    engine.enters(entry.sequence);
    const { timeoutMs } = entry.sequence;
    return timeoutMs === undefined
      ? entry.sequence
      : { ...entry.sequence, timeoutMs: Math.max(0, timeoutMs - (now - entry.submittedAt)) };
  }

  /** Notes that the engine was asked to release the sequence, which it does unless the sequence starts before. */
  requestRelease(id: number): void {
    this.#entries.get(id)!.isReleasing = true;
    this.#releasing++;
  }

  /** Takes a sequence back from its engine. @returns whether its caller still wants it: then it is held */
  comeBack(id: number, now: number): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    if (entry.aborted) this.fail(id, { code: 'engine_failed', message: 'Aborted.' }, now);
    else this.#hold(entry);
    return !entry.aborted;
  }

  /** @returns when it was submitted; null where it has ended, or had already started */
  start(id: number, now: number): number | null {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.state === 'running') return null;
    entry.state = 'running';
    entry.startedAt = now;
    this.#settleRelease(entry);
    entry.engine?.starts(entry.sequence);
    this.load.starts(shareOf(entry.sequence), entry.sequence.promptTokens.length);
    this.#call(() => entry.listener.onStart?.());
    return entry.submittedAt;
  }

  token(event: TokenEvent, now: number): void {
    const entry = this.#entries.get(event.id);
    if (entry === undefined) return;
    entry.firstTokenAt ??= now;
    entry.tokens++;
    this.#call(() => entry.listener.onToken(event));
  }

  /** True when this is the first abort of a live sequence. */
  abort(id: number): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.aborted) return false;
    entry.aborted = true;
    return true;
  }

  /**
   * Ends a sequence as the engine reports. @returns when it started; null where it never started, or had ended before
   */
  end(end: SequenceEnd): number | null {
    const entry = this.#entries.get(end.id);
    if (entry === undefined) return null;
    this.#entries.delete(end.id);
    this.#settleRelease(entry);
    entry.engine?.leaves(entry.sequence, entry.state === 'running');
    this.load.ends(shareOf(entry.sequence), entry.sequence.promptTokens.length, entry.state === 'running');
    this.#call(() => entry.listener.onEnd(end));
    return entry.startedAt;
  }

  /**
   * Ends a sequence without an engine's report: as an abort where the caller asked for that, otherwise with the
   * failure.
   */
  fail(id: number, failure: Failure, now: number): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    const { submittedAt, startedAt, firstTokenAt } = entry;
    this.end({
      id,
      ...(entry.aborted ? { reason: 'abort' } : { reason: 'error', error: failure }),
      stopToken: null,
      promptTokens: entry.sequence.promptTokens.length,
      completionTokens: entry.tokens,
      cachedTokens: 0,
      timings: {
        queueMs: (startedAt ?? now) - submittedAt,
        prefillMs: startedAt === null ? 0 : (firstTokenAt ?? now) - startedAt,
        decodeMs: firstTokenAt === null ? 0 : now - firstTokenAt,
      },
    });
  }

  /**
   * Handles an engine's death. Sequences that had started are lost, because their callers have seen tokens. Those that
   * still waited are held for another engine, but only once.
   */
  engineDied(engine: EngineLoad, failure: Failure, now: number): void {
    for (const [id, entry] of [...this.#entries]) {
      if (entry.engine !== engine) continue;
      if (entry.state === 'running' || entry.replayed || entry.aborted) {
        this.fail(id, failure, now);
      } else {
        this.#hold(entry);
        entry.replayed = true;
      }
    }
  }

  #hold(entry: Entry): void {
    this.#settleRelease(entry);
    entry.engine?.leaves(entry.sequence, false);
    entry.state = 'held';
    entry.engine = null;
  }

  /** Forgets a request for release: the sequence has started, has ended, or is released. */
  #settleRelease(entry: Entry): void {
    if (entry.isReleasing) this.#releasing--;
    entry.isReleasing = false;
  }

  #call(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#onListenerError(error);
    }
  }
}

const shareOf = ({ share }: Pick<SequenceRequest, 'share'>): Share => share ?? commonShare;
