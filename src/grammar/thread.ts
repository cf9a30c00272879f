// The thread that computes masks: a matcher for each sequence, and a few compiled prototypes, since the same grammars
// come again. A trap ends the thread, and its owner starts another one.

import { parentPort, workerData } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import { systemClock } from '../core/clock.ts';
import { grammarKey } from '../core/grammar.ts';
import { limits } from '../core/limits.ts';
import { GrammarRefused, type Matcher, openGrammars } from '../wasm/grammars.ts';
import type { GrammarAnswer, GrammarQuestion, GrammarThreadData } from './messages.ts';

const { table, current } = workerData as GrammarThreadData;
const grammars = openGrammars(table, systemClock.monotonic);
const prototypes = new LRUCache<string, Matcher>({
  max: limits.grammarPrototypes,
  dispose: (matcher) => matcher.release(),
});

type Entry = {
  readonly matcher: Matcher;
  readonly words: Uint32Array;
  /** Tokens accepted since the last mask. */
  unmasked: number;
};
const entries = new Map<number, Entry>();

let isBroken = false;

answer({ id: 0, to: 'start', place: -1, refused: null });

parentPort!.on('message', (question: GrammarQuestion) => {
  if (isBroken) return;
  Atomics.store(current, 0, question.id);
  take(question);
  Atomics.store(current, 0, 0);
});

function take(question: GrammarQuestion): void {
  const { id } = question;
  if (question.type === 'create') {
    const { refused } = attempt(() => create(question));
    answer({ id, to: 'create', place: -1, refused });
    return;
  }
  const entry = entries.get(id);
  if (question.type === 'release') {
    entry?.matcher.release();
    entries.delete(id);
  } else if (question.type === 'ask') {
    const { result = -1, refused } = attempt(() => firstOf(entry, question.tokens));
    answer({ id, to: 'ask', place: result, refused });
    // Accepting comes after the answer, since the sequence need not wait for it.
    if (result >= 0) accept(entry, question.tokens[result]!);
  } else accept(entry, question.token);
}

function create({ id, grammar, tokens, words }: Extract<GrammarQuestion, { type: 'create' }>): void {
  const matcher = prototype(grammar).copy();
  if (words === null) {
    matcher.release();
    return;
  }
  const entry = { matcher, words, unmasked: 0 };
  entries.set(id, entry);
  for (const token of tokens) matcher.accept(token);
  mask(entry);
}

/** Gives the place of the first token that may come; -1 where none may, after making the mask. */
function firstOf(entry: Entry | undefined, tokens: readonly number[]): number {
  if (entry === undefined) throw new GrammarRefused('there is no such matcher');
  const place = tokens.length > 0 ? entry.matcher.first(tokens) : -1;
  if (place < 0) mask(entry);
  return place;
}

/** Accepts a token. A refusal is reported with the next question. */
function accept(entry: Entry | undefined, token: number): void {
  attempt(() => {
    if (entry === undefined) return;
    entry.matcher.accept(token);
    if (++entry.unmasked >= limits.tokensUnmasked) mask(entry);
  });
}

function mask(entry: Entry): void {
  entry.matcher.mask(entry.words);
  entry.unmasked = 0;
}

function prototype(grammar: Parameters<typeof grammars.create>[0]): Matcher {
  const key = grammarKey(grammar);
  const known = prototypes.get(key);
  if (known !== undefined) return known;
  const made = grammars.create(grammar);
  prototypes.set(key, made);
  return made;
}

/** Runs `work` and catches refusals. Any other error ends the thread, and nothing more is answered. */
function attempt<T>(work: () => T): { readonly result?: T; readonly refused: string | null } {
  try {
    return { result: work(), refused: null };
  } catch (error) {
    if (error instanceof GrammarRefused) return { refused: error.message };
    isBroken = true;
    throw error;
  }
}

function answer(about: Omit<GrammarAnswer, 'memoryBytes'>): void {
  parentPort!.postMessage({ ...about, memoryBytes: grammars.memoryBytes } satisfies GrammarAnswer);
}
