// What a decode step costs on this machine, learned from the engine's own steps: an exponentially weighted mean for
// each kind of group and number of rows. What was never seen, or not for long, is guessed from the nearest that was, by
// the shape that such costs have. Knows no clock.

import type { StepKind, StepMs } from './policies/merged-or-mixed.ts';

/** Weight of the newest step. */
const newest = 0.1;
/** Steps after which a cell counts as unknown: a choice that was bad once, among other adapters, is tried again. */
const staleAfter = 4096;

/** A first step ties bindings; what takes so many times the mean was interrupted. */
const outlier = 3;

/**
 * Costs of `rows` rows in units of the base's lone row. A step reads all weights once, and a row adds a fifth of that
 * (SmolLM2-135M on two cores); adapters add a quarter.
 */
const prior = (kind: StepKind, rows: number) => (1 + 0.2 * (rows - 1)) * (kind === 'mixed' ? 1.25 : 1);

/** A guess from steps with adapters for those without, or the other way, is a low one: so it is tried, and known. */
const optimism = 0.8;

/** Before the first step: only their ratios matter. */
const guessMs = 10;

type Cell = { readonly kind: StepKind; readonly rows: number; ms: number; at: number };

export class StepCosts {
  readonly #cells = new Map<string, Cell>();
  #steps = 0;

  observe(kind: StepKind, rows: number, ms: number): void {
    this.#steps++;
    const key = `${kind} ${rows}`;
    const cell = this.#cells.get(key);
    if (!cell || this.#isStale(cell)) this.#cells.set(key, { kind, rows, ms, at: this.#steps });
    else {
      cell.ms += newest * (Math.min(ms, outlier * cell.ms) - cell.ms);
      cell.at = this.#steps;
    }
  }

  readonly stepMs: StepMs = (kind, rows) => {
    if (rows === 0) return 0;
    let nearest: Cell | null = null;
    let distance = Number.POSITIVE_INFINITY;
    for (const cell of this.#cells.values()) {
      if (this.#isStale(cell)) continue;
      const apart = Math.abs(cell.rows - rows) + distanceOf(cell.kind, kind);
      if (apart < distance) [nearest, distance] = [cell, apart];
    }
    if (nearest === null) return guessMs * prior(kind, rows);
    const guess = (nearest.ms * prior(kind, rows)) / prior(nearest.kind, nearest.rows);
    return distance < otherWork ? guess : optimism * guess;
  };

  #isStale({ at }: Cell): boolean {
    return this.#steps - at > staleAfter;
  }
}

/** Farther than any number of rows of the same: merged weights take the base's kernels, adapters are other work. */
const otherWeights = 1000;
const otherWork = 1_000_000;

function distanceOf(one: StepKind, other: StepKind): number {
  if (one === other) return 0;
  return one === 'mixed' || other === 'mixed' ? otherWork : otherWeights;
}
