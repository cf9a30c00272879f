// A few places shared by all owners, which no owner may fill alone.

import { mayTake } from './share.ts';

/**
 * Takes a place. Throws where none is left for this owner. @returns the function that gives the place back; further
 * calls of it do nothing
 */
export type SharedPlaces = (owner: string) => () => void;

export function sharedPlaces(places: number, refusal: () => Error): SharedPlaces {
  const byOwner = new Map<string, number>();
  let taken = 0;
  return (owner) => {
    const own = byOwner.get(owner) ?? 0;
    // A single place goes to whoever comes first.
    if (places === 1 ? taken === 1 : !mayTake({ places, taken, own })) throw refusal();
    const change = (by: number) => {
      taken += by;
      const left = (byOwner.get(owner) ?? 0) + by;
      if (left > 0) byOwner.set(owner, left);
      else byOwner.delete(owner);
    };
    change(1);
    let isTaken = true;
    return () => {
      if (isTaken) change(-1);
      isTaken = false;
    };
  };
}
