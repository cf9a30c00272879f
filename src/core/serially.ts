// Runs one piece of work after another where pieces must not overlap: changes of the registry, commands to a device.

import { fairTurns } from './fair-turns.ts';
import { currentOwner } from './on-behalf.ts';

export type Serially = <T>(work: () => Promise<T>) => Promise<T>;

export function serially(): Serially {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}

/**
 * Lets at most `places` pieces of work run at once. Their owners take turns; each owner's pieces run in the order of
 * asking.
 */
export function fairly(places = 1): Serially {
  const take = fairTurns(places);
  return async (work) => {
    const end = await take(currentOwner());
    try {
      return await work();
    } finally {
      end();
    }
  };
}
