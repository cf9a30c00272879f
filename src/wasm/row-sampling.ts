// Choosing tokens out of one row of logits, in WebAssembly: four logits at a time, and never a sort of the vocabulary.
// The row is copied into the module's memory; what is asked next is asked of it.

import { instantiate, type Memory } from './instantiate.ts';

export type RowSampling = {
  /** @param logits [vocabulary]. Returns the first of the largest; -1 where one is NaN or the largest is not finite. */
  argmax(logits: Float32Array): number;
  /** The sum of exp((logit - largest) * sharpness) over the row that `argmax` took last. */
  mass(sharpness: number): number;
  /**
   * The token at `position`, in [0, 1), along the weights exp(logit / temperature) of the row that `argmax` took last,
   * in the order of ids.
   */
  draw(temperature: number, position: number): number;
  /**
   * What one draw after the other gives at these positions, none of them twice. Fewer where too little is left to be
   * told apart. It changes the row.
   */
  drawSome(temperature: number, positions: readonly number[]): number[];
  /** The same along what min-p (0: off), top-k (0: off) and top-p (1: off) leave, the best first. */
  drawFiltered(filters: Filters, position: number): number;
  /** Ids of the `count` best of the row that `argmax` took last, the best first; of equals the lower id first. */
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
      // Fewer than asked for where the rest has no weight at all.
      const start = exports.best(count);
      return [...new Uint32Array(exports.memory.buffer, start, exports.best_count())];
    },
  };
}

/** Beyond this all weight is the largest's, and a float would overflow. */
const sharpnessOf = (temperature: number) => Math.min(1 / temperature, 1e30);
