// Chooses tokens from one row of logits, in WebAssembly: four logits at a time, and never by sorting the vocabulary.
// `argmax` copies the row into the module's memory, and the other functions work on that copy.

import { instantiate, type Memory } from './instantiate.ts';

export type RowSampling = {
  /**
   * Gives the first of the largest logits; -1 where one is NaN or the largest is not finite. @param logits [vocabulary]
   */
  argmax(logits: Float32Array): number;
  /** Sums exp((logit - largest) * sharpness) over the row that `argmax` took last. */
  mass(sharpness: number): number;
  /**
   * Draws from the weights exp(logit / temperature) of the row that `argmax` took last: gives the token at `position`,
   * in [0, 1), along the cumulative weights in the order of ids.
   */
  draw(temperature: number, position: number): number;
  /**
   * Draws one token at each position, no token twice. Gives fewer tokens where the remaining weights are too small to
   * tell apart. Changes the row.
   */
  drawSome(temperature: number, positions: readonly number[]): number[];
  /**
   * Draws like `draw` from the tokens that min-p (0: off), top-k (0: off) and top-p (1: off) keep, in the order of
   * their logits.
   */
  drawFiltered(filters: Filters, position: number): number;
  /**
   * Gives the ids of the `count` best tokens of the row that `argmax` took last, in descending order; of equals the
   * lower id first.
   */
  best(count: number): number[];
};

export type Filters = {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
};

type Exports = {
  readonly memory: Memory;
  reserve(vocabulary: number): number;
  argmax(): number;
  mass(sharpness: number): number;
  draw(sharpness: number, position: number): number;
  draw_next(position: number): number;
  draw_filtered(temperature: number, topK: number, topP: number, minP: number, position: number): number;
  best(count: number): number;
  best_count(): number;
};

export function createRowSampling(): RowSampling {
  const exports = instantiate<Exports>('sampling');
  let row = new Float32Array(0);
  const copy = (logits: Float32Array) => {
    // Memory that grew has another buffer, and the old one is empty.
    if (row.length !== logits.length || row.buffer !== exports.memory.buffer) {
      const start = exports.reserve(logits.length);
      row = new Float32Array(exports.memory.buffer, start, logits.length);
    }
    row.set(logits);
  };
  return {
    argmax(logits) {
      copy(logits);
      return exports.argmax();
    },
    mass: exports.mass,
    draw: (temperature, position) => exports.draw(sharpnessOf(temperature), position),
    drawSome(temperature, positions) {
      const tokens: number[] = [];
      for (const position of positions) {
        const isFirst = tokens.length === 0;
        const token = isFirst ? exports.draw(sharpnessOf(temperature), position) : exports.draw_next(position);
        if (token < 0) break;
        tokens.push(token);
      }
      return tokens;
    },
    drawFiltered: ({ temperature, topK, topP, minP }, position) =>
      exports.draw_filtered(temperature, topK, topP, minP, position),
    best(count) {
      // The list is shorter than `count` where the remaining tokens have no weight at all.
      const start = exports.best(count);
      return [...new Uint32Array(exports.memory.buffer, start, exports.best_count())];
    },
  };
}

/** Inverse temperature, bounded: beyond this the largest logit has all the weight, and a float would overflow. */
const sharpnessOf = (temperature: number) => Math.min(1 / temperature, 1e30);
