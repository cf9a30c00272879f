// The thread that computes masks: one matcher a sequence, and a few prototypes, since the same grammars come again.
// A trap ends the thread, whose owner starts another one.

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
const matchers = new Map<number, { readonly matcher: Matcher; readonly words: Uint32Array }>();

let isBroken = false;

parentPort!.postMessage({ id: 0, refused: null, memoryBytes: grammars.memoryBytes } satisfies GrammarAnswer);

parentPort!.on('message', (question: GrammarQuestion) => {
  if (isBroken) return;
  const { id } = question;
  if (question.type === 'release') {
    matchers.get(id)?.matcher.release();
    matchers.delete(id);
    return;
  }
  Atomics.store(current, 0, id);
  const refused = refusal(() => work(question));
  Atomics.store(current, 0, 0);
  parentPort!.postMessage({ id, refused, memoryBytes: grammars.memoryBytes } satisfies GrammarAnswer);
});

function work(question: Exclude<GrammarQuestion, { type: 'release' }>): void {
  if (question.type === 'create') {
    const matcher = prototype(question.grammar).copy();
    for (const token of question.tokens) matcher.accept(token);
    if (question.words === null) {
      matcher.release();
      return;
    }
    matchers.set(question.id, { matcher, words: question.words });
    matcher.mask(question.words);
    return;
  }
  const { matcher, words } = matchers.get(question.id)!;
  matcher.accept(question.token);
  matcher.mask(words);
}

function prototype(grammar: Parameters<typeof grammars.create>[0]): Matcher {
  const key = grammarKey(grammar);
  const known = prototypes.get(key);
  if (known !== undefined) return known;
  const made = grammars.create(grammar);
  prototypes.set(key, made);
  return made;
}

/** Why the work was refused; null where it was done. What is no refusal ends the thread; nothing more is answered. */
function refusal(work: () => void): string | null {
  try {
    work();
    return null;
  } catch (error) {
    if (error instanceof GrammarRefused) return error.message;
    isBroken = true;
    throw error;
  }
}
