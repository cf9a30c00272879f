// What a decode step costs on this machine, learned from the engine's own steps: an exponentially weighted mean for
// each kind of step and number of rows. An estimate draws on cells near it too, scaled by the shape that such costs
// have, since a single mean is noise where two choices are nearly level. Knows no clock.

import type { StepKind, StepMs } from '../policies/merged-or-mixed.ts';

/** Weight of the newest step. */
const newest = 0.1;
/**
 * Steps after which a cell counts as unknown, so that a choice that was bad once, among other adapters, is tried again.
 */
const staleAfter = 4096;

/** Most steps that a cell's count may weigh. */
const countMax = 20;

/**
 * Bound of a step's time in multiples of the cell's mean: longer ones were interrupted, or tied bindings for the first
 * time.
 */
const outlier = 3;

/**
 * Costs of `rows` rows in units of the base's lone row. A step reads all weights once, and a row adds a fifth of that
 * (SmolLM2-135M on two cores); adapters add a quarter.
 */
const prior = (kind: StepKind, rows: number) => (1 + 0.2 * (rows - 1)) * (kind === 'mixed' ? 1.25 : 1);

/**
 * Factor of an estimate from steps with adapters for those without, or the reverse: a low estimate gets the choice
 * tried.
 */
const optimism = 0.8;

/** Milliseconds assumed before the first step; only ratios matter. */
const guessMs = 10;

type Cell = { readonly kind: StepKind; readonly rows: number; ms: number; count: number; at: number };

export class StepCosts {
  readonly #cells = new Map<string, Cell>();
  #steps = 0;

  observe(kind: StepKind, rows: number, ms: number): void {
    this.#steps++;
    const key = `${kind} ${rows}`;
    const cell = this.#cells.get(key);
    if (!cell || this.#isStale(cell)) this.#cells.set(key, { kind, rows, ms, count: 1, at: this.#steps });
    else {
      cell.ms += newest * (Math.min(ms, outlier * cell.ms) - cell.ms);
      cell.at = this.#steps;
      cell.count = Math.min(cell.count + 1, countMax);
    }
  }

  readonly stepMs: StepMs = (kind, rows) => {
    if (rows === 0) return 0;
    const known = [...this.#cells.values()].filter((cell) => !this.#isStale(cell));
    for (const like of alike[kind]) {
      const cells = known.filter((cell) => cell.kind === like);
      if (cells.length > 0) return prior(kind, rows) * priorsAt(rows, cells);
    }
    return prior(kind, rows) * (known.length > 0 ? optimism * priorsAt(rows, known) : guessMs);
  };

  #isStale({ at }: Cell): boolean {
    return this.#steps - at > staleAfter;
  }
}

/** Kinds whose steps stand in for one another: merged weights take the base's kernels, adapters are other work. */
const alike: Readonly<Record<StepKind, readonly StepKind[]>> = {
  base: ['base', 'merged'],
  merged: ['merged', 'base'],
  mixed: ['mixed'],
};

/** Time of `rows` rows over the prior, averaged over the cells by how often each was seen and how near it is. */
function priorsAt(rows: number, cells: readonly Cell[]): number {
  let [sum, weights] = [0, 0];
  for (const cell of cells) {
    const weight = cell.count / (1 + Math.abs(cell.rows - rows)) ** 2;
    sum += (weight * cell.ms) / prior(cell.kind, cell.rows);
    weights += weight;
  }
  return sum / weights;
}
