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
  /** A bit for each token that may come next, while `isReady`. */
  readonly words: Uint32Array;
  readonly isReady: boolean;
  /** Why there will be no mask any more; null as long as there is none. */
  readonly error: LorikeetError | null;
  /** Fulfils when the mask is there; rejects with the error. */
  readonly ready: Promise<void>;
  /** The sequence took a token: the mask is the next one's from now on, when it is ready again. */
  accept(token: number): void;
  release(): void;
};

type Entry = {
  readonly id: number;
  readonly grammar: Grammar;
  readonly tokens: number[];
  readonly words: Uint32Array | null;
  waiting: PromiseWithResolvers<void>;
  isReady: boolean;
  /** Answers that are outstanding: the mask is the last one's. */
  asked: number;
  error: LorikeetError | null;
};

export type GrammarThreadOptions = {
  readonly table: TokenTable;
  /** Without an answer for so long, what the thread works on is refused. */
  readonly answerMsMax?: number;
  /** Called when a matcher is ready or refused. */
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
    const { release } = this.#verbs(entry);
    return {
      words,
      get isReady() {
        return entry.isReady;
      },
      get error() {
        return entry.error;
      },
      get ready() {
        return entry.waiting.promise;
      },
      accept: (token) => this.#accept(entry, token),
      release,
    };
  }

  /** Rejects with `grammar_invalid` or `grammar_too_complex` where the grammar cannot be used. */
  async check(grammar: Grammar): Promise<void> {
    const entry = this.#add(grammar, null);
    try {
      await entry.waiting.promise;
    } finally {
      this.#verbs(entry).release();
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
    const entry = { id: this.#nextId++, grammar, tokens: [], words, ...unanswered(), asked: 0, error: null };
    this.#entries.set(entry.id, entry);
    this.#ask(entry, creation(entry));
    return entry;
  }

  #verbs(entry: Entry) {
    return {
      release: () => {
        if (!this.#entries.delete(entry.id)) return;
        this.#worker?.postMessage({ type: 'release', id: entry.id } satisfies GrammarQuestion);
      },
    };
  }

  #accept(entry: Entry, token: number): void {
    if (!this.#entries.has(entry.id)) return;
    entry.tokens.push(token);
    Object.assign(entry, unanswered());
    this.#ask(entry, { type: 'accept', id: entry.id, token });
  }

  #ask(entry: Entry, question: Exclude<GrammarQuestion, { type: 'release' }>): void {
    entry.asked++;
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

  #take({ id, refused, memoryBytes }: GrammarAnswer): void {
    if (id === 0) this.#hasBegun = true;
    else this.#asked--;
    this.#watch();
    const entry = this.#entries.get(id);
    if (entry !== undefined) {
      entry.asked--;
      if (refused !== null) this.#settle(entry, refusal(refused));
      else if (entry.asked === 0) this.#settle(entry, null);
    }
    if (this.#entries.size === 0 && memoryBytes > limits.grammarIdleBytes) this.close();
  }

  #settle(entry: Entry, error: LorikeetError | null): void {
    if (error === null) {
      entry.isReady = true;
      entry.waiting.resolve();
    } else {
      entry.error = error;
      this.#entries.delete(entry.id);
      this.#worker?.postMessage({ type: 'release', id: entry.id } satisfies GrammarQuestion);
      entry.waiting.reject(error);
    }
    this.#options.onChange();
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
    const others = [...this.#entries.values()].filter(({ id }) => id !== culprit);
    const faulty = this.#entries.get(culprit);
    if (faulty !== undefined) this.#settle(faulty, tooComplex(reason));
    // It did not even start: a next one will not either.
    else for (const entry of others) this.#settle(entry, new LorikeetError(code, { message: reason }));
    if (faulty === undefined) return;
    // The masks that are there stay: they will be the same.
    for (const entry of others) {
      entry.asked = 0;
      this.#ask(entry, creation(entry));
    }
  }
}

const creation = ({ id, grammar, tokens, words }: Entry): Extract<GrammarQuestion, { type: 'create' }> => ({
  ...{ type: 'create', id, grammar, words },
  tokens: [...tokens],
});

function unanswered(): Pick<Entry, 'waiting' | 'isReady'> {
  const waiting = Promise.withResolvers<void>();
  // Whoever waits hears of an error; often nobody does.
  waiting.promise.catch(() => {});
  return { waiting, isReady: false };
}

/** llguidance names its own bounds where one is reached. */
const boundWords = /\b(fuel|too (large|complex|many|deep)|limit|exceed(ed|s)?)\b/i;

const refusal = (message: string): LorikeetError =>
  boundWords.test(message) ? tooComplex(message) : new LorikeetError('grammar_invalid', { message });

const tooComplex = (reason: string) =>
  new LorikeetError('grammar_too_complex', { message: `The grammar of the output is too complex: ${reason}` });
