// Places that owners wait for in turns: whoever asks for a thousand is between two others as often as who asks for one.
// What the server does for everybody goes before all of them.

import { server } from './on-behalf.ts';

/** Waits for a place. @returns what gives it back, once */
export type FairTurns = (owner: string) => Promise<() => void>;

export function fairTurns(places = 1): FairTurns {
  /** Of each owner in the order of asking; the owner whose turn is next comes first. */
  const waiting = new Map<string, (() => void)[]>();
  let taken = 0;
  const next = () => {
    while (taken < places) {
      const owner = waiting.has(server) ? server : waiting.keys().next().value;
      if (owner === undefined) return;
      const own = waiting.get(owner)!;
      const begin = own.shift()!;
      // Behind all others.
      waiting.delete(owner);
      if (own.length > 0) waiting.set(owner, own);
      taken++;
      begin();
    }
  };
  return async (owner) => {
    await new Promise<void>((resolve) => {
      const own = waiting.get(owner);
      if (own === undefined) waiting.set(owner, [resolve]);
      else own.push(resolve);
      next();
    });
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      taken--;
      next();
    };
  };
}
