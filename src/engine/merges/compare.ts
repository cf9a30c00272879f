// Logits of the merged and the unmerged model at the same positions: how far their distributions lie apart. Pure.

import type { MergeQuality } from '../../protocol/messages.ts';

export type Comparison = {
  /** Rows [positions, vocabulary] of both. */
  add(unmerged: Float32Array, merged: Float32Array): void;
  /** null where nothing was added. */
  quality(): MergeQuality | null;
};

export function createComparison(vocabulary: number): Comparison {
  let positions = 0;
  let sum = 0;
  let max = 0;
  let agreed = 0;
  return {
    add(unmerged, merged) {
      for (let at = 0; at < unmerged.length; at += vocabulary) {
        const p = unmerged.subarray(at, at + vocabulary);
        const q = merged.subarray(at, at + vocabulary);
        const [pBest, qBest] = [argmax(p), argmax(q)];
        const [pTotal, qTotal] = [total(p, p[pBest]!), total(q, q[qBest]!)];
        let kl = 0;
        for (let i = 0; i < vocabulary; i++) {
          const logP = p[i]! - p[pBest]! - Math.log(pTotal);
          kl += Math.exp(logP) * (logP - (q[i]! - q[qBest]! - Math.log(qTotal)));
        }
        positions++;
        sum += kl;
        max = Math.max(max, kl);
        if (pBest === qBest) agreed++;
      }
    },
    quality: () =>
      positions === 0 ? null : { positions, meanKl: sum / positions, maxKl: max, top1Agreement: agreed / positions },
  };
}

const argmax = (row: Float32Array) => row.reduce((best, value, i) => (value > row[best]! ? i : best), 0);
const total = (row: Float32Array, max: number) => row.reduce((sum, value) => sum + Math.exp(value - max), 0);
