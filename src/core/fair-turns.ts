// Turns for a few places, shared fairly between the owners that wait for them.

import { waitingPlaces } from './waiting-places.ts';

/** Waits for a place. @returns the function that gives the place back; further calls of it do nothing */
export type FairTurns = (owner: string) => Promise<() => void>;

export const fairTurns = (places = 1): FairTurns => waitingPlaces(() => places).take;
