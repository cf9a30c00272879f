// A few places that owners wait for in turns: whoever asks for a thousand is between two others as often as who asks
// for one. What the server does for everybody goes before all of them.

import { server } from './on-behalf.ts';

export type WaitingPlaces = {
  /** By default for the server. @returns what gives the place back, once */
  take(owner?: string): Promise<() => void>;
  /** Places may have become more. */
  look(): void;
  /** Places, taken or not. */
  readonly most: number;
};

/** @param places asked each time one is taken or given back */
export function waitingPlaces(places: () => number): WaitingPlaces {
  /** Of each owner in the order of asking; the owner whose turn is next comes first. */
  const waiting = new Map<string, (() => void)[]>();
  let taken = 0;
  const look = () => {
    while (waiting.size > 0 && taken < places()) {
      const owner = waiting.has(server) ? server : waiting.keys().next().value!;
      const own = waiting.get(owner)!;
      const begin = own.shift()!;
      // Behind all others.
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
