// A few places for which owners wait in turns: an owner with a thousand requests gets its turn as often as one with a
// single request. Work of the server itself goes before all owners.

import { server } from './on-behalf.ts';

export type WaitingPlaces = {
  /**
   * Waits for a place, by default for the server. @returns the function that gives the place back; further calls of it
   * do nothing
   */
  take(owner?: string): Promise<() => void>;
  /** Looks again for free places, after their number may have grown. */
  look(): void;
  /** Number of places, taken or free. */
  readonly most: number;
};

/** @param places gives the number of places; called each time a place is taken or given back */
export function waitingPlaces(places: () => number): WaitingPlaces {
  /** Callbacks of each owner in the order of asking; the owner whose turn is next comes first. */
  const waiting = new Map<string, (() => void)[]>();
  let taken = 0;
  const look = () => {
    while (waiting.size > 0 && taken < places()) {
      const owner = waiting.has(server) ? server : waiting.keys().next().value!;
      const own = waiting.get(owner)!;
      const begin = own.shift()!;
      // The owner goes behind all others.
      waiting.delete(owner);
      if (own.length > 0) waiting.set(owner, own);
      taken++;
      begin();
    }
  };
  return {
    look,
    get most() {
      return places();
    },
    async take(owner = server) {
      await new Promise<void>((resolve) => {
        const own = waiting.get(owner);
        if (own === undefined) waiting.set(owner, [resolve]);
        else own.push(resolve);
        look();
      });
      let isTaken = true;
      return () => {
        if (!isTaken) return;
        isTaken = false;
        taken--;
        look();
      };
    },
  };
}
