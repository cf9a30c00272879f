// Tracks where each adapter's weights are, from the moves that the engine reports. An adapter without a report is on
// the disk.

import type { AdapterMove } from './messages.ts';

const nearness = ['pages', 'memory', 'disk'] as const;

/** Picks the nearest of several engines' tiers for one adapter. */
export const nearest = (tiers: readonly AdapterTier[]): AdapterTier =>
  nearness.find((tier) => tiers.includes(tier)) ?? 'disk';

/** Nearest place of an adapter's weights: `pages` beside the base's weights, the engine's memory, the disk. */
export type AdapterTier = 'pages' | 'memory' | 'disk';

export class AdapterTiers {
  readonly #places: Readonly<Record<AdapterMove['place'], Set<string>>> = { pages: new Set(), memory: new Set() };

  moved(moves: readonly AdapterMove[]): void {
    for (const { digest, place, isThere } of moves) {
      if (isThere) this.#places[place].add(digest);
      else this.#places[place].delete(digest);
    }
  }

  /** Digests of the adapters in the engine's memory. */
  get resident(): ReadonlySet<string> {
    return this.#places.memory;
  }

  engineDied(): void {
    for (const place of Object.values(this.#places)) place.clear();
  }

  of(digest: string): AdapterTier {
    if (this.#places.pages.has(digest)) return 'pages';
    return this.#places.memory.has(digest) ? 'memory' : 'disk';
  }
}
