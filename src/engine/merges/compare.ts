// Compares merged weights with unmerged ones: next-token distributions, position by position. Knows logits alone.

import type { MergeQuality } from '../../protocol/messages.ts';
import { row } from '../sampling/argmax.ts';
import { logSumExp } from '../sampling/logprobs.ts';

export type Comparison = {
  /** Adds logits [positions, vocabulary] of both at the same positions. */
  add(unmerged: Float32Array, merged: Float32Array): void;
  /** The figures of all that was added, at least one position. */
  quality(): MergeQuality;
};

export function createComparison(vocabulary: number): Comparison {
  let positions = 0;
  let agreed = 0;
  let sum = 0;
  let maxKl = 0;
  return {
    add(unmerged, merged) {
      for (let at = 0; at < unmerged.length; at += vocabulary) {
        const [p, q] = [unmerged.subarray(at, at + vocabulary), merged.subarray(at, at + vocabulary)];
        const kl = klDivergence(p, q);
        positions++;
        sum += kl;
        maxKl = Math.max(maxKl, kl);
        if (row.argmax(p) === row.argmax(q)) agreed++;
      }
    },
    quality: () => ({ positions, meanKl: sum / positions, maxKl, top1Agreement: agreed / positions }),
  };
}

/** KL(p ‖ q) in nats of two distributions given as logits. */
export function klDivergence(p: Float32Array, q: Float32Array): number {
  const [ofP, ofQ] = [logSumExp(p), logSumExp(q)];
  let kl = 0;
  for (let i = 0; i < p.length; i++) {
    const logP = p[i]! - ofP;
    kl += Math.exp(logP) * (logP - (q[i]! - ofQ));
  }
  // Rounding may give a value below 0 where both are the same.
  return Math.max(kl, 0);
}
