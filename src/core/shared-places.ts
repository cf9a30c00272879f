// A few places that everybody shares, none of which one owner may fill alone.

import { mayTake } from './share.ts';

/** Takes a place; what is returned gives it back, once. Throws where there is none for this owner. */
export type SharedPlaces = (owner: string) => () => void;

export function sharedPlaces(places: number, refusal: () => Error): SharedPlaces {
  const byOwner = new Map<string, number>();
  let taken = 0;
  return (owner) => {
    const own = byOwner.get(owner) ?? 0;
    // A single place is whoever's comes first.
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
