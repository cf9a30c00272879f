// The bindings of a decoder's runs, kept by what they tie.

import { LRUCache } from 'lru-cache';
import type { AdaptedWindow } from './adapters/adapter-runs.ts';

/**
 * Bindings kept, at least: all batch sizes of the default slot count and the rows that prefill beside them, of the base
 * and of a few merged models, whose rows begin anywhere.
 */
const windowsMin = 128;
/** For each row: it prefills with and without adapters, and steps have its number of rows. */
const windowsPerRow = 4;

export type Windows = ReturnType<typeof createWindows>;

/** Those that were not used for long are released. */
export function createWindows(rows: number) {
  const windows = new LRUCache<string, AdaptedWindow>({
    max: Math.max(windowsMin, windowsPerRow * rows),
    dispose: (window) => window.release(),
  });
  return {
    of(key: string, tie: () => AdaptedWindow): AdaptedWindow {
      const known = windows.get(key);
      if (known) return known;
      const window = tie();
      windows.set(key, window);
      return window;
    },
    dropModel(id: number): void {
      for (const key of [...windows.keys()]) if (key.startsWith(`${id} `)) windows.delete(key);
    },
    dropPlace(place: string): void {
      for (const key of [...windows.keys()]) if (key.split(' ')[2] === place) windows.delete(key);
    },
  };
}
