// Which sequences the server has given away and where each stands. Pure bookkeeping: no process, no timer.
// Every sequence leaves the book exactly once, through `end`, and nothing reaches its listener after that.

import type { ErrorCode } from '../core/errors.ts';
import { commonShare, type Share } from '../core/share.ts';
import type { SequenceListener } from './engine-client.ts';
import { FlowLoad } from './flow-load.ts';
import type { SequenceEnd, SequenceRequest, TokenEvent } from './messages.ts';

/** `held`: no engine has it yet; `sent`: it waits in the engine; `running`: it has a slot. */
export type SequenceState = 'held' | 'sent' | 'running';

type Entry = {
  readonly sequence: SequenceRequest;
  readonly listener: SequenceListener;
  readonly submittedAt: number;
  state: SequenceState;
  startedAt: number | null;
  firstTokenAt: number | null;
  tokens: number;
  aborted: boolean;
  /** It was with an engine that died; a second time it is not given to another. */
  replayed: boolean;
};

export type Failure = { readonly code: ErrorCode; readonly message: string };

export class SequenceBook {
  readonly #entries = new Map<number, Entry>();
  readonly #onListenerError: (error: unknown) => void;
  /** By flow. */
  readonly load = new FlowLoad();
  #nextId = 1;

  /** @param onListenerError one request's faulty listener must not stop the others */
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

  /** What an engine has begun to work on. */
  begun(): SequenceRequest[] {
    return [...this.#entries.values()].filter(({ state }) => state === 'running').map(({ sequence }) => sequence);
  }

  /** In order of submission. */
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

  /** How far a running one is; null: it does not run. */
  progress(id: number): { startedAt: number; promptTokens: number; completionTokens: number } | null {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.startedAt === null) return null;
    const { startedAt, tokens, sequence } = entry;
    return { startedAt, promptTokens: sequence.promptTokens.length, completionTokens: tokens };
  }

  /** Marks a held sequence as given to the engine. */
  take(id: number, now: number): SequenceRequest {
    const entry = this.#entries.get(id)!;
    entry.state = 'sent';
    const { timeoutMs } = entry.sequence;
    return timeoutMs === undefined
      ? entry.sequence
      : { ...entry.sequence, timeoutMs: Math.max(0, timeoutMs - (now - entry.submittedAt)) };
  }

  /** @returns when it was submitted; null for one that has ended, or had started before */
  start(id: number, now: number): number | null {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.state === 'running') return null;
    entry.state = 'running';
    entry.startedAt = now;
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

  /** The engine's own account of the end. @returns when it started; null: it never did, or had ended before */
  end(end: SequenceEnd): number | null {
    const entry = this.#entries.get(end.id);
    if (entry === undefined) return null;
    this.#entries.delete(end.id);
    this.load.ends(shareOf(entry.sequence), entry.sequence.promptTokens.length, entry.state === 'running');
    this.#call(() => entry.listener.onEnd(end));
    return entry.startedAt;
  }

  /** An end that no engine reported: an abort where the caller asked for one, else the failure. */
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
   * After an engine's death: what had begun is lost, because the caller has seen its tokens; what still waited is held
   * for the next engine, once.
   */
  engineDied(failure: Failure, now: number): void {
    for (const [id, entry] of [...this.#entries]) {
      if (entry.state === 'held') continue;
      if (entry.state === 'running' || entry.replayed || entry.aborted) {
        this.fail(id, failure, now);
      } else {
        entry.state = 'held';
        entry.replayed = true;
      }
    }
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
