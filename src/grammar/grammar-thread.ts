// The owner of a thread that computes masks. The thread starts with the first grammar; where it takes too long or
// traps, what it worked on is refused, a new thread is started and all others go on there. Knows no sequences.

import { Worker } from 'node:worker_threads';
import { systemTimers, type Timers } from '../core/clock.ts';
import { type ErrorCode, LorikeetError } from '../core/errors.ts';
import { type Grammar, maskWords, type TokenTable } from '../core/grammar.ts';
import { limits } from '../core/limits.ts';
import type { GrammarAnswer, GrammarQuestion, GrammarThreadData } from './messages.ts';

/** A matcher in the thread, as its user sees it. */
export type Constraint = {
  /** A bit for each token that may come next, when `first` has found none, until `accept`. */
  readonly words: Uint32Array;
  /** It is compiled. */
  readonly isReady: boolean;
  /** Why there will be no answer any more; null as long as there is none. */
  readonly error: LorikeetError | null;
  /** Fulfils when it is compiled; rejects with the error. */
  readonly ready: Promise<void>;
  /**
   * The first of these that may come, which the sequence takes thereby. Null: none of them may, and `accept` says which
   * one of `words` it takes. Rejects with the error.
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
  /** What it waits for. */
  asked: Asked | null;
  error: LorikeetError | null;
};

export type GrammarThreadOptions = {
  readonly table: TokenTable;
  /** Without an answer for so long, what the thread works on is refused. */
  readonly answerMsMax?: number;
  /** Called when a matcher is compiled or refused. */
  readonly onChange?: () => void;
  readonly timers?: Timers;
  /** The thread's main file. */
  readonly entry?: URL;
};

export class GrammarThread {
  readonly #options: Required<GrammarThreadOptions>;
  readonly #entries = new Map<number, Entry>();
  readonly #current = new Int32Array(new SharedArrayBuffer(4));
  #worker: Worker | null = null;
  #hasBegun = false;
  /** Answers that are outstanding. */
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

  /** A matcher at the grammar's start; compiled in the thread. */
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
    // A trap, or memory that ran out.
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

  /** A thread that nobody uses gives its memory back by its end. */
  #rest(): void {
    if (this.#entries.size === 0 && this.#memoryBytes > limits.grammarIdleBytes) this.close();
  }

  /** Waits anew for the next answer, as long as one is outstanding. */
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

  /** Refuses what the thread works on, and gives all other matchers to a new one. */
  #replace(reason: string, code: ErrorCode = 'internal_error'): void {
    const culprit = Atomics.load(this.#current, 0);
    this.close();
    const faulty = this.#entries.get(culprit);
    if (faulty !== undefined) this.#refuse(faulty, tooComplex(reason));
    for (const entry of [...this.#entries.values()]) {
      // It did not even start: a next one will not either.
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

/** The token at this place of those that were asked about; -1: there is a mask. */
function answer(entry: Entry, place: number): void {
  const { tokens, resolve } = entry.asked!;
  entry.asked = null;
  const token = tokens[place] ?? null;
  if (token !== null) entry.tokens.push(token);
  resolve(token);
}

function unheard<T>(): PromiseWithResolvers<T> {
  const waiting = Promise.withResolvers<T>();
  // Whoever waits hears of an error; often nobody does.
  waiting.promise.catch(() => {});
  return waiting;
}

/** llguidance names its own bounds where one is reached. */
const boundWords = /\b(fuel|too (large|complex|many|deep)|limit|exceed(ed|s)?)\b/i;

const refusal = (message: string): LorikeetError =>
  boundWords.test(message) ? tooComplex(message) : new LorikeetError('grammar_invalid', { message });

const tooComplex = (reason: string) =>
  new LorikeetError('grammar_too_complex', { message: `The grammar of the output is too complex: ${reason}` });
