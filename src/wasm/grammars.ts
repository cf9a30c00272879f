// llguidance in WebAssembly: grammars over a vocabulary, and matchers that tell which tokens may come next. Its work is
// bounded by its own limits. A trap leaves the instance unusable, and the owner makes another one.

import { randomFillSync } from 'node:crypto';
import type { Grammar, TokenTable } from '../core/grammar.ts';
import { limits } from '../core/limits.ts';
import { instantiate, type Memory } from './instantiate.ts';

/** The grammar is invalid, needs something that is not supported, or costs more than the limits allow. */
export class GrammarRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GrammarRefused';
  }
}

export type Matcher = {
  /** Computes the mask. @param words receives a bit for each token that may come next. Throws `GrammarRefused` */
  mask(words: Uint32Array): void;
  /** Gives the place of the first of `tokens` that may come next; -1 where none may, or where only a mask can tell. */
  first(tokens: readonly number[]): number;
  /** Moves on by a token. Throws `GrammarRefused` for a token that may not come. */
  accept(token: number): void;
  /** Makes another matcher in the same state. */
  copy(): Matcher;
  release(): void;
};

export type Grammars = {
  /** Makes a matcher at the grammar's start. Throws `GrammarRefused`. */
  create(grammar: Grammar): Matcher;
  /** Bytes of memory that the instance has taken, and never gives back. */
  readonly memoryBytes: number;
};

type Exports = {
  readonly memory: Memory;
  allocate(bytes: number): number;
  release(pointer: number, bytes: number): void;
  error_pointer(): number;
  error_bytes(): number;
  open(bytes: number, ends: number, count: number, eos: number, eosCount: number, limits: number): number;
  create(kind: number, kindBytes: number, text: number, textBytes: number): number;
  copy(matcher: number): number;
  drop_matcher(matcher: number): void;
  mask(matcher: number, words: number): number;
  first(matcher: number, tokens: number, count: number): number;
  accept(matcher: number, token: number): number;
};

/** @param now milliseconds, for llguidance's own statistics */
export function openGrammars(table: TokenTable, now: () => number): Grammars {
  const exports: Exports = instantiate<Exports>('grammar', {
    env: { now },
    host: {
      random: (pointer, bytes) => {
        randomFillSync(new Uint8Array(exports.memory.buffer, pointer, bytes));
        return undefined;
      },
    },
  });
  const memory = sharedMemory(exports);
  const { grammarItems, grammarFuel, maskFuel, maskItems, lexerStates, grammarSymbols } = limits;
  const bounds = Uint32Array.of(grammarItems, grammarFuel, maskFuel, maskItems, lexerStates, grammarSymbols);
  const { bytes, ends, eosTokens } = table;
  memory.lent([bytes, asBytes(ends), asBytes(Uint32Array.from(eosTokens)), asBytes(bounds)], ([b, e, eos, bound]) =>
    memory.check(exports.open(b!, e!, ends.length, eos!, eosTokens.length, bound!)),
  );
  const count = Math.ceil(ends.length / 32);
  const words = exports.allocate(count * 4);

  const matcherOf = (number: number): Matcher => ({
    mask(into) {
      memory.check(exports.mask(number, words));
      into.set(new Uint32Array(exports.memory.buffer, words, count));
    },
    first(tokens) {
      const place = memory.lent([asBytes(Uint32Array.from(tokens))], ([pointer]) =>
        memory.check(exports.first(number, pointer!, tokens.length)),
      );
      return place < tokens.length ? place : -1;
    },
    accept(token) {
      memory.check(exports.accept(number, token));
    },
    copy: () => matcherOf(memory.check(exports.copy(number))),
    release: () => exports.drop_matcher(number),
  });
  return {
    create({ kind, text }) {
      const texts = [Buffer.from(kind), Buffer.from(text)] as const;
      return memory.lent(texts, ([k, t]) =>
        matcherOf(memory.check(exports.create(k!, texts[0].length, t!, texts[1].length))),
      );
    },
    get memoryBytes() {
      return exports.memory.buffer.byteLength;
    },
  };
}

const asBytes = ({ buffer, byteOffset, byteLength }: Uint32Array) => new Uint8Array(buffer, byteOffset, byteLength);

function sharedMemory(exports: Exports) {
  return {
    /** Runs `work` with copies of the arrays in the instance's memory, which are freed afterwards. */
    lent<T>(arrays: readonly Uint8Array[], work: (pointers: readonly number[]) => T): T {
      const pointers = arrays.map((array) => exports.allocate(array.length));
      // The copies are written after all allocations, since memory that grows gets another buffer.
      for (const [i, array] of arrays.entries()) new Uint8Array(exports.memory.buffer).set(array, pointers[i]!);
      try {
        return work(pointers);
      } finally {
        for (const [i, array] of arrays.entries()) exports.release(pointers[i]!, array.length);
      }
    },
    /** Returns a function's result, or throws the module's error for a negative one. */
    check(result: number): number {
      if (result >= 0) return result;
      const text = new Uint8Array(exports.memory.buffer, exports.error_pointer(), exports.error_bytes());
      throw new GrammarRefused(Buffer.from(text).toString());
    },
  };
}
