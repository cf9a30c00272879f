// Opens the constraint of an output's grammar, and masks logits by it.

import { LorikeetError } from '../../core/errors.ts';
import type { Grammar } from '../../core/grammar.ts';
import type { Constraint, GrammarThread } from '../../grammar/grammar-thread.ts';

export function openConstraint(thread: GrammarThread | null, grammar: Grammar | null | undefined): Constraint | null {
  if (!grammar) return null;
  return thread?.open(grammar) ?? withoutVocabulary();
}

function withoutVocabulary(): Constraint {
  const error = new LorikeetError('internal_error', { message: 'The engine was started without a vocabulary.' });
  const ready: Promise<never> = Promise.reject(error);
  ready.catch(() => {});
  return { words: new Uint32Array(0), isReady: false, error, ready, first: () => ready, accept() {}, release() {} };
}

/** Sets the logits of tokens whose bit is 0, or that have no bit, to negative infinity. */
export function applyMask(words: Uint32Array, logits: Float32Array): void {
  for (let place = 0; place < words.length; place++) {
    const word = words[place]!;
    const first = place * 32;
    if (word === 0xffffffff) continue;
    if (word === 0) {
      while (words[place + 1] === 0) place++;
      logits.fill(Number.NEGATIVE_INFINITY, first, (place + 1) * 32);
      continue;
    }
    for (let bit = 0; bit < 32 && first + bit < logits.length; bit++) {
      if (((word >>> bit) & 1) === 0) logits[first + bit] = Number.NEGATIVE_INFINITY;
    }
  }
  logits.fill(Number.NEGATIVE_INFINITY, Math.min(words.length * 32, logits.length));
}
