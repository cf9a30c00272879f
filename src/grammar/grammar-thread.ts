// Owns a thread that computes masks. The thread starts with the first grammar. Where it takes too long or traps, the
// grammar that it worked on is refused, and a new thread takes over all others. Knows no sequences.

import { Worker } from 'node:worker_threads';
import { systemTimers, type Timers } from '../core/clock.ts';
import { type ErrorCode, LorikeetError } from '../core/errors.ts';
import { type Grammar, maskWords, type TokenTable } from '../core/grammar.ts';
import { limits } from '../core/limits.ts';
import type { GrammarAnswer, GrammarQuestion, GrammarThreadData } from './messages.ts';

/** A matcher in the thread, as its user sees it. */
export type Constraint = {
  /** Mask with a bit for each token that may come next. Valid after `first` gave null, until `accept`. */
  readonly words: Uint32Array;
  /** True once the grammar is compiled. */
  readonly isReady: boolean;
  /** Why there will be no more answers; null while there may be. */
  readonly error: LorikeetError | null;
  /** Resolves when the grammar is compiled; rejects with the error. */
  readonly ready: Promise<void>;
  /**
   * Gives the first of `tokens` that may come next, and takes it as accepted. Null: none of them may; then the caller
   * chooses under `words` and calls `accept`. Rejects with the error.
   */
  first(tokens: readonly number[]): Promise<number | null>;
  accept(token: number): void;
  release(): void;
};

type Asked = { readonly tokens: readonly number[] } & PromiseWithResolvers<number | null>;

type Entry = {
  readonly id: number;
  readonly grammar: Grammar;
  readonly tokens: number[];
  readonly words: Uint32Array | null;
  readonly made: PromiseWithResolvers<void>;
  isMade: boolean;
  /** The pending question, null where there is none. */
  asked: Asked | null;
  error: LorikeetError | null;
};

export type GrammarThreadOptions = {
  readonly table: TokenTable;
  /** Milliseconds without an answer after which the current grammar is refused. */
  readonly answerMsMax?: number;
  /** Called when a matcher is compiled or refused. */
  readonly onChange?: () => void;
  readonly timers?: Timers;
  /** Main file of the thread. */
  readonly entry?: URL;
};

export class GrammarThread {
  readonly #options: Required<GrammarThreadOptions>;
  readonly #entries = new Map<number, Entry>();
  readonly #current = new Int32Array(new SharedArrayBuffer(4));
  #worker: Worker | null = null;
  #hasBegun = false;
  /** Number of outstanding answers. */
  #asked = 0;
  #nextId = 1;
  #memoryBytes = 0;
  #stopWatch = () => {};

  constructor({ table, answerMsMax, onChange, timers, entry }: GrammarThreadOptions) {
    this.#options = {
      table,
      answerMsMax: answerMsMax ?? limits.grammarAnswerMs,
      onChange: onChange ?? (() => {}),
      timers: timers ?? systemTimers,
      entry: entry ?? new URL('./thread.ts', import.meta.url),
    };
  }

  /** Opens a matcher at the grammar's start; the thread compiles it. */
  open(grammar: Grammar): Constraint {
    const words = new Uint32Array(new SharedArrayBuffer(maskWords(this.#options.table) * 4));
    const entry = this.#add(grammar, words);
    return {
      words,
      get isReady() {
        return entry.isMade;
      },
      get error() {
        return entry.error;
      },
      ready: entry.made.promise,
      first: (tokens) => this.#first(entry, tokens),
      accept: (token) => this.#accept(entry, token),
      release: () => this.#release(entry),
    };
  }

  /** Rejects with `grammar_invalid` or `grammar_too_complex` where the grammar cannot be used. */
  async check(grammar: Grammar): Promise<void> {
    const entry = this.#add(grammar, null);
    try {
      await entry.made.promise;
    } finally {
      this.#release(entry);
    }
  }

  close(): void {
    this.#stopWatch();
    this.#worker?.removeAllListeners();
    this.#worker?.terminate();
    this.#worker = null;
    this.#hasBegun = false;
    this.#asked = 0;
  }

  #add(grammar: Grammar, words: Uint32Array | null): Entry {
    const made = unheard<void>();
    const entry: Entry = {
      ...{ id: this.#nextId++, grammar, tokens: [], words },
      ...{ made, isMade: false, asked: null, error: null },
    };
    this.#entries.set(entry.id, entry);
    this.#ask(creation(entry));
    return entry;
  }

  #first(entry: Entry, tokens: readonly number[]): Promise<number | null> {
    const asked = { tokens, ...unheard<number | null>() };
    if (entry.error !== null) asked.reject(entry.error);
    else {
      entry.asked = asked;
      this.#ask({ type: 'ask', id: entry.id, tokens });
    }
    return asked.promise;
  }

  #accept(entry: Entry, token: number): void {
    if (!this.#entries.has(entry.id)) return;
    entry.tokens.push(token);
    this.#worker?.postMessage({ type: 'accept', id: entry.id, token } satisfies GrammarQuestion);
  }

  #release(entry: Entry): void {
    if (!this.#entries.delete(entry.id)) return;
    this.#worker?.postMessage({ type: 'release', id: entry.id } satisfies GrammarQuestion);
    this.#rest();
  }

  #ask(question: Extract<GrammarQuestion, { type: 'create' | 'ask' }>): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(question);
    if (this.#asked++ === 0) this.#watch();
  }

  #start(): Worker {
    const workerData: GrammarThreadData = { table: this.#options.table, current: this.#current };
    Atomics.store(this.#current, 0, 0);
    const worker = new Worker(this.#options.entry, { workerData });
    worker.unref();
    worker.on('message', (answer: GrammarAnswer) => this.#take(answer));
    // A trap, or memory exhausted.
    worker.on('error', (error) => this.#replace(error.message));
    worker.on('exit', () => this.#replace('its thread ended'));
    return worker;
  }

  #take({ id, to, place, refused, memoryBytes }: GrammarAnswer): void {
    if (to === 'start') this.#hasBegun = true;
    else this.#asked--;
    this.#watch();
    this.#memoryBytes = memoryBytes;
    const entry = this.#entries.get(id);
    if (entry !== undefined) {
      if (refused !== null) this.#refuse(entry, refusal(refused));
      else if (to === 'create') this.#made(entry);
      else answer(entry, place);
    }
    this.#rest();
  }

  #made(entry: Entry): void {
    entry.isMade = true;
    entry.made.resolve();
    this.#options.onChange();
  }

  #refuse(entry: Entry, error: LorikeetError): void {
    entry.error = error;
    entry.made.reject(error);
    entry.asked?.reject(error);
    this.#release(entry);
    this.#options.onChange();
  }

  /** Ends an unused thread that has taken much memory, since only its end gives the memory back. */
  #rest(): void {
    if (this.#entries.size === 0 && this.#memoryBytes > limits.grammarIdleBytes) this.close();
  }

  /** Restarts the time limit for the next answer, where one is outstanding. */
  #watch(): void {
    this.#stopWatch();
    if (this.#asked === 0) return;
    const { timers, answerMsMax } = this.#options;
    const { grammarStartMs } = limits;
    this.#stopWatch = this.#hasBegun
      ? timers.after(answerMsMax, () => this.#replace(`it took longer than ${answerMsMax} ms`))
      : timers.after(grammarStartMs, () =>
          this.#replace('No form of an output can be computed now.', 'server_overloaded'),
        );
  }

  /** Refuses the grammar that the thread works on, and gives all other matchers to a new thread. */
  #replace(reason: string, code: ErrorCode = 'internal_error'): void {
    const culprit = Atomics.load(this.#current, 0);
    this.close();
    const faulty = this.#entries.get(culprit);
    if (faulty !== undefined) this.#refuse(faulty, tooComplex(reason));
    for (const entry of [...this.#entries.values()]) {
      // The thread did not even start, and a next one would not either.
      if (culprit === 0) this.#refuse(entry, new LorikeetError(code, { message: reason }));
      else {
        this.#ask(creation(entry));
        if (entry.asked !== null) this.#ask({ type: 'ask', id: entry.id, tokens: entry.asked.tokens });
      }
    }
  }
}

const creation = ({ id, grammar, tokens, words }: Entry): Extract<GrammarQuestion, { type: 'create' }> => ({
  ...{ type: 'create', id, grammar, words },
  tokens: [...tokens],
});

/** Answers a question with the token at `place`; with -1 the answer is null, and the mask is ready. */
function answer(entry: Entry, place: number): void {
  const { tokens, resolve } = entry.asked!;
  entry.asked = null;
  const token = tokens[place] ?? null;
  if (token !== null) entry.tokens.push(token);
  resolve(token);
}

function unheard<T>(): PromiseWithResolvers<T> {
  const waiting = Promise.withResolvers<T>();
  // Every awaiting caller sees the error. Often nobody awaits, and that must not count as an unhandled rejection.
  waiting.promise.catch(() => {});
  return waiting;
}

/** Words of llguidance's messages where one of its limits is reached. */
const boundWords = /\b(fuel|too (large|complex|many|deep)|limit|exceed(ed|s)?)\b/i;

const refusal = (message: string): LorikeetError =>
  boundWords.test(message) ? tooComplex(message) : new LorikeetError('grammar_invalid', { message });

const tooComplex = (reason: string) =>
  new LorikeetError('grammar_too_complex', { message: `The grammar of the output is too complex: ${reason}` });
