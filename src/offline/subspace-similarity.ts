// Measures how much of the space of one adapter's leading directions lies in that of another's (LoRA, section 7.2):
// φ(i, j) = ‖U_iᵀ U'_j‖²_F / min(i, j), from 0 (orthogonal) to 1 (one within the other).

import type { SimilarityGrid } from '../protocol/offline-messages.ts';
import { type Columns, dot } from './thin-qr.ts';

/** Compares 1, 2, 4, ... and all leading directions. Both lists are orthonormal, by descending singular value. */
export function subspaceSimilarity(own: Columns, other: Columns): SimilarityGrid {
  const grid = { own: stepsTo(own.length), other: stepsTo(other.length) };
  /** sums[j] is the sum of (u_a · u'_b)² over all rows a so far and b < j. */
  const sums = new Float64Array(other.length + 1);
  const phi: number[][] = [];
  for (const [at, direction] of own.entries()) {
    let squares = 0;
    for (const [b, one] of other.entries()) {
      squares += dot(direction, one) ** 2;
      sums[b + 1]! += squares;
    }
    const i = at + 1;
    if (grid.own.includes(i)) phi.push(grid.other.map((j) => Math.min(1, sums[j]! / Math.min(i, j))));
  }
  return { ...grid, phi };
}

function stepsTo(count: number): number[] {
  const steps: number[] = [];
  for (let step = 1; step < count; step *= 2) steps.push(step);
  return count === 0 ? [] : [...steps, count];
}
