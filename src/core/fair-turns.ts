// So many places that owners wait for in turns.

import { waitingPlaces } from './waiting-places.ts';

/** Waits for a place. @returns what gives it back, once */
export type FairTurns = (owner: string) => Promise<() => void>;

export const fairTurns = (places = 1): FairTurns => waitingPlaces(() => places).take;
